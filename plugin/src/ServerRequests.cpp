// The requests of ServerClient and the server's answers and events. All of it runs on the
// client's thread, except where a public method posts a job to it.
#include "ServerClient.h"

#include <cmath>

namespace stembridge {
namespace {

constexpr size_t kPartBytes = 8000;
constexpr size_t kMaxTextBytes = 16u * 1024u * 1024u;
constexpr size_t kMaxReplies = 8192;

juce::String utf8(const std::string& text) {
    return juce::String::fromUTF8(text.c_str());
}

// Cuts a text into parts that end between characters.
std::vector<std::string> split(const std::string& text) {
    std::vector<std::string> parts;
    size_t at = 0;
    while (at < text.size()) {
        size_t end = std::min(text.size(), at + kPartBytes);
        while (end < text.size() && end > at &&
               (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80)
            --end;
        if (end == at) end = std::min(text.size(), at + kPartBytes);
        parts.push_back(text.substr(at, end - at));
        at = end;
    }
    if (parts.empty()) parts.emplace_back();
    return parts;
}

}  // namespace

void ServerClient::send(const std::string& path, std::vector<OscValue> arguments) {
    if (socket == nullptr || !address.found) return;
    const auto bytes = encode({path, std::move(arguments)});
    socket->write(address.host, address.port, bytes.data(), static_cast<int>(bytes.size()));
}

void ServerClient::request(const std::string& path, std::vector<OscValue> arguments,
                           double timeoutSeconds, Handler handler, bool several) {
    pending.push_back({path,
                       several,
                       juce::Time::getMillisecondCounterHiRes() + timeoutSeconds * 1000.0,
                       std::move(handler),
                       {}});
    send(path, std::move(arguments));
}

void ServerClient::handle(const OscMessage& message) {
    heardMs = juce::Time::getMillisecondCounterHiRes();
    if (message.path == "/reply" || message.path == "/error") return handleAnswer(message);
    if (message.path == "/server/status") {
        change([&](ServerView& v) {
            for (size_t i = 0; i + 1 < message.arguments.size(); i += 2)
                if (message.text(i) == "load") v.serverLoad = message.number(i + 1);
        });
        return;
    }
    const auto prefix = "/session/" + sessionId + "/";
    if (message.path.rfind(prefix, 0) == 0)
        handleEvent(message.path.substr(prefix.size()), message);
}

void ServerClient::handleAnswer(const OscMessage& message) {
    const auto path = message.text(0);
    for (size_t i = 0; i < pending.size(); ++i) {
        if (pending[i].path != path) continue;
        const bool failed = message.path == "/error";
        if (!failed) {
            auto& replies = pending[i].replies;
            if (replies.size() < kMaxReplies) replies.push_back(message);
            const auto wanted = static_cast<size_t>(std::max(1, message.integer(2, 1)));
            if (pending[i].several && replies.size() < std::min(wanted, kMaxReplies)) return;
        }
        auto answered = std::move(pending[i]);
        pending.erase(pending.begin() + static_cast<std::ptrdiff_t>(i));
        if (answered.handler) answered.handler(answered.replies, failed ? &message : nullptr);
        return;
    }
}

void ServerClient::handleEvent(const std::string& verb, const OscMessage& message) {
    if (verb == "levels") {
        change([&](ServerView& v) {
            for (size_t i = 0; i < v.levelsDb.size(); ++i) {
                const auto db = message.number(i, -120.0f);
                v.levelsDb[i] = std::isfinite(db) ? juce::jlimit(-120.0f, 40.0f, db) : -120.0f;
            }
            v.levelsAtMs = juce::Time::getMillisecondCounter();
        });
    } else if (verb == "spectrum") {
        takeSpectrumColumn(message);
    } else if (verb == "status") {
        change([&](ServerView& v) {
            for (size_t i = 0; i + 1 < message.arguments.size(); i += 2) {
                const auto& value = message.arguments[i + 1];
                juce::String text;
                if (const auto* word = std::get_if<std::string>(&value)) text = utf8(*word);
                if (const auto* whole = std::get_if<int32_t>(&value)) text = juce::String(*whole);
                if (const auto* real = std::get_if<float>(&value)) text = juce::String(*real);
                if (v.session.size() < 64 || v.session.count(utf8(message.text(i))) != 0)
                    v.session[utf8(message.text(i))] = text;
            }
        });
    } else if (verb == "latency") {
        latencyAsked.clear();  // ask for the present wish: the event may be of an older one
    } else if (verb == "change") {
        const auto key = utf8(message.text(0));
        if (key == "keep" || key == "remove")
            adoptPrompts();  // they may be clips or learned, which have no words
        else
            delegate.changedElsewhere(key, utf8(message.text(1)));
    } else if (verb == "progress") {
        change([&](ServerView& v) {
            v.progress = juce::jlimit(0.0f, 1.0f, message.number(1));
            v.progressText = utf8(message.text(2));
        });
    } else if (verb == "closed") {
        if (stage != Stage::open) return;  // of a session that was left already
        stage = Stage::ready;
        {
            const std::lock_guard<std::mutex> hold(decidedLock);
            decided = false;
        }
        change([&](ServerView& v) {
            v.phase = ServerPhase::opening;
            v.notice = "The server closed the session: " + utf8(message.text(0)) + ".";
        });
    }
}

void ServerClient::sendPreset(const juce::String& text, Handler done) {
    auto parts = std::make_shared<std::vector<std::string>>(split(text.toStdString()));
    if (parts->size() == 1)
        request(sessionPath("preset/set"), {parts->front()}, 120.0, std::move(done));
    else
        sendPart(std::move(parts), 0, std::move(done));
}

// One part after the other, so that no socket buffer overflows.
void ServerClient::sendPart(std::shared_ptr<std::vector<std::string>> parts, size_t index,
                            Handler done) {
    const auto count = parts->size();
    request(sessionPath("preset/send"),
            {static_cast<int32_t>(index), static_cast<int32_t>(count), (*parts)[index]}, 120.0,
            [this, parts, index, count, done](const Replies& replies, const OscMessage* error) {
                if (error != nullptr || index + 1 == count)
                    done(replies, error);
                else
                    sendPart(parts, index + 1, done);
            });
}

void ServerClient::listPresets() {
    request(
        "/preset/list", {}, 10.0,
        [this](const Replies& replies, const OscMessage* error) {
            if (error != nullptr) return;
            std::vector<PresetRow> rows;
            for (const auto& reply : replies)
                if (reply.integer(2) > 0)
                    rows.push_back({utf8(reply.text(3)), utf8(reply.text(4)), utf8(reply.text(5))});
            change([&](ServerView& v) { v.presets = rows; });
        },
        true);
}

// A text in parts. Datagrams may be lost when many come at once: what is missing is asked again.
void ServerClient::fetchText(const std::string& path, std::vector<OscValue> arguments, int attempts,
                             std::function<void(const juce::String&)> done) {
    auto got = std::make_shared<std::map<int, std::string>>();
    auto ask = std::make_shared<std::function<void(int)>>();
    *ask = [this, path, arguments, done, got,
            weak = std::weak_ptr<std::function<void(int)>>(ask)](int left) {
        auto again = weak.lock();  // keeps the loop alive while a request is under way
        request(
            path, arguments, 2.0,
            [this, done, got, again, left](const Replies& replies, const OscMessage* error) {
                size_t parts = 0, bytes = 0;
                for (const auto& reply : replies) {
                    (*got)[reply.integer(1)] = reply.text(3);
                    parts = static_cast<size_t>(std::max(0, reply.integer(2)));
                }
                if (parts > 0 && got->size() >= parts) {
                    std::string text;
                    for (const auto& [index, part] : *got) {
                        bytes += part.size();
                        if (bytes > kMaxTextBytes) return;
                        text += part;
                    }
                    done(utf8(text));
                } else if (left > 1 && (error == nullptr || error->text(1) == "timeout")) {
                    (*again)(left - 1);
                } else if (error != nullptr) {
                    showError(*error);
                }
            },
            true);
    };
    (*ask)(attempts);
}

// --- the editor's requests -------------------------------------------------------------------

void ServerClient::setPrompts(Side side, const juce::String& words) {
    post([this, side, words] {
        if (stage != Stage::open) return;
        std::vector<OscValue> prompts;
        for (auto word : juce::StringArray::fromTokens(words, ",", ""))
            if (word.trim().isNotEmpty()) prompts.emplace_back(word.trim().toStdString());
        request(sessionPath(side == Side::keep ? "keep/set" : "remove/set"), std::move(prompts),
                60.0, [this](const Replies&, const OscMessage* error) {
                    if (error != nullptr) {
                        showError(*error);
                        return;
                    }
                    change([](ServerView& v) { v.error.clear(); });
                    adoptPrompts();
                });
    });
}

void ServerClient::setExample(Side side, const juce::File& file) {
    post([this, side, file] {
        if (stage != Stage::open) {
            change([](ServerView& v) {
                v.error = "An example needs the server. Start it: stembridge serve";
            });
            return;
        }
        change([&](ServerView& v) { v.notice = "Listening to " + file.getFileName() + "…"; });
        request(sessionPath("example/set"),
                {std::string(side == Side::keep ? "keep" : "remove"),
                 file.getFullPathName().toStdString(), 0.0f, 0.0f},
                120.0, [this, file](const Replies& replies, const OscMessage* error) {
                    if (error != nullptr) {
                        change([&](ServerView& v) {
                            v.error = utf8(error->text(2));
                            v.notice.clear();
                        });
                        return;
                    }
                    change([&](ServerView& v) {
                        v.error.clear();
                        v.notice = "Example: " + file.getFileName() + ", " +
                                   juce::String(replies[0].number(2), 1) + " s";
                    });
                    adoptPrompts();
                });
    });
}

void ServerClient::savePreset(const juce::String& name, bool replace, PresetDocument::Ptr preset) {
    juce::ignoreUnused(preset);  // the session holds it already; synchronise() saw to that
    post([this, name, replace] {
        if (stage != Stage::open) {
            change([](ServerView& v) {
                v.error =
                    "Saving needs the server. Start it: stembridge serve. The project keeps "
                    "the preset anyway.";
            });
            return;
        }
        request(sessionPath("preset/save"), {name.toStdString(), replace ? 1 : 0}, 20.0,
                [this](const Replies& replies, const OscMessage* error) {
                    if (error != nullptr) {
                        showError(*error);
                        return;
                    }
                    change([&](ServerView& v) {
                        v.error.clear();
                        v.notice = "Saved as " + utf8(replies[0].text(1));
                    });
                    listPresets();
                });
    });
}

void ServerClient::fetchPreset(const juce::String& name) {
    post([this, name] {
        if (stage == Stage::away || stage == Stage::greeting) return;
        fetchText("/preset/get", {name.toStdString()}, 5, [this](const juce::String& text) {
            juce::String problem;
            auto preset = PresetDocument::parse(text, problem);
            if (preset == nullptr) {
                change([&](ServerView& v) { v.error = problem; });
            } else if (onPresetFetched) {
                onPresetFetched(preset);
            }
        });
    });
}

void ServerClient::startServer() {
    startWanted = true;  // until the client has looked again
    post([this] {
        if (stage != Stage::away || starter.alive()) {
            startWanted = false;
            return;
        }
        juce::String problem;
        if (starter.start(problem)) {
            startedMs = juce::Time::getMillisecondCounterHiRes();
            nextLookMs = 0;
            change([](ServerView& v) {
                v.phase = ServerPhase::starting;
                v.error.clear();
            });
        } else {
            startWanted = false;
            change([&](ServerView& v) { v.error = problem; });
        }
    });
}

void ServerClient::dismissError() {
    change([](ServerView& v) {
        v.error.clear();
        v.notice.clear();
    });
}

}  // namespace stembridge
