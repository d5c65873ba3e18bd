// See OscMessage.h. Every read checks the remaining bytes first; sizes come from the network.
#include "OscMessage.h"

#include <cstring>

namespace stembridge {
namespace {

void putString(std::vector<uint8_t>& out, const std::string& text) {
    out.insert(out.end(), text.begin(), text.end());
    out.push_back(0);
    while (out.size() % 4 != 0) out.push_back(0);
}

void putWord(std::vector<uint8_t>& out, uint32_t word) {
    for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<uint8_t>(word >> shift));
}

class Reader {
public:
    Reader(const uint8_t* bytes, size_t count) : data(bytes), size(count) {}

    bool string(std::string& into) {
        const auto* end = static_cast<const uint8_t*>(std::memchr(data + at, 0, size - at));
        if (end == nullptr) return false;
        const auto length = static_cast<size_t>(end - (data + at));
        into.assign(reinterpret_cast<const char*>(data + at), length);
        return skip((length + 4) & ~size_t{3});
    }

    bool word(uint32_t& into) {
        if (size - at < 4) return false;
        into = juce::ByteOrder::bigEndianInt(data + at);
        return skip(4);
    }

    bool blob(OscBlob& into) {
        uint32_t length = 0;
        if (!word(length) || length > size - at) return false;
        into.assign(data + at, data + at + length);
        return skip((static_cast<size_t>(length) + 3) & ~size_t{3});
    }

private:
    bool skip(size_t count) {
        if (count > size - at) return false;
        at += count;
        return true;
    }

    const uint8_t* data;
    size_t size;
    size_t at = 0;
};

}  // namespace

std::string OscMessage::text(size_t index) const {
    if (index < arguments.size())
        if (const auto* value = std::get_if<std::string>(&arguments[index])) return *value;
    return {};
}

int OscMessage::integer(size_t index, int fallback) const {
    if (index >= arguments.size()) return fallback;
    if (const auto* value = std::get_if<int32_t>(&arguments[index])) return *value;
    if (const auto* real = std::get_if<float>(&arguments[index]))
        return std::abs(*real) < 2.0e9f ? static_cast<int>(*real) : fallback;
    return fallback;
}

float OscMessage::number(size_t index, float fallback) const {
    if (index >= arguments.size()) return fallback;
    if (const auto* value = std::get_if<float>(&arguments[index])) return *value;
    if (const auto* whole = std::get_if<int32_t>(&arguments[index]))
        return static_cast<float>(*whole);
    return fallback;
}

std::vector<uint8_t> encode(const OscMessage& message) {
    std::vector<uint8_t> out;
    putString(out, message.path);
    std::string types = ",";
    for (const auto& value : message.arguments) types += "ifsb"[value.index()];
    putString(out, types);
    for (const auto& value : message.arguments) {
        if (const auto* whole = std::get_if<int32_t>(&value)) {
            putWord(out, static_cast<uint32_t>(*whole));
        } else if (const auto* real = std::get_if<float>(&value)) {
            uint32_t bits = 0;
            std::memcpy(&bits, real, sizeof bits);
            putWord(out, bits);
        } else if (const auto* text = std::get_if<std::string>(&value)) {
            putString(out, *text);
        } else if (const auto* blob = std::get_if<OscBlob>(&value)) {
            putWord(out, static_cast<uint32_t>(blob->size()));
            out.insert(out.end(), blob->begin(), blob->end());
            while (out.size() % 4 != 0) out.push_back(0);
        }
    }
    return out;
}

std::optional<OscMessage> decode(const uint8_t* data, size_t size) {
    if (size < 8 || size % 4 != 0 || data[0] != '/') return std::nullopt;
    Reader reader(data, size);
    OscMessage message;
    std::string types;
    if (!reader.string(message.path) || !reader.string(types) || types.empty() || types[0] != ',')
        return std::nullopt;
    for (size_t i = 1; i < types.size(); ++i) {
        uint32_t word = 0;
        switch (types[i]) {
            case 'i':
                if (!reader.word(word)) return std::nullopt;
                message.arguments.emplace_back(static_cast<int32_t>(word));
                break;
            case 'f': {
                if (!reader.word(word)) return std::nullopt;
                float real = 0.0f;
                std::memcpy(&real, &word, sizeof real);
                message.arguments.emplace_back(real);
                break;
            }
            case 's': {
                std::string text;
                if (!reader.string(text)) return std::nullopt;
                message.arguments.emplace_back(std::move(text));
                break;
            }
            case 'b': {
                OscBlob blob;
                if (!reader.blob(blob)) return std::nullopt;
                message.arguments.emplace_back(std::move(blob));
                break;
            }
            case 'T':
            case 'F':
                message.arguments.emplace_back(static_cast<int32_t>(types[i] == 'T'));
                break;
            default:
                return std::nullopt;
        }
    }
    return message;
}

}  // namespace stembridge
