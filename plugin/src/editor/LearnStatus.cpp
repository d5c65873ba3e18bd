// See LearnStatus.h.
#include "LearnStatus.h"

namespace stembridge {
namespace {

juce::String text(const ServerView& view, const char* key) {
    const auto found = view.session.find(key);
    return found == view.session.end() ? juce::String() : found->second;
}

double number(const ServerView& view, const char* key, double missing = 0.0) {
    const auto value = text(view, key);
    return value.isEmpty() ? missing : value.getDoubleValue();
}

juce::String percent(double share) {
    return juce::String(juce::roundToInt(100.0 * share)) + " %";
}

}  // namespace

LearnStatus LearnStatus::of(const ServerView& view) {
    LearnStatus status;
    const auto word = text(view, "learn_state");
    if (view.phase != ServerPhase::connected || word.isEmpty()) return status;
    status.state = word == "learning"  ? State::learning
                   : word == "learned" ? State::learned
                   : word == "armed"   ? State::armed
                                       : State::off;
    status.armedSeconds = number(view, "learn_armed_seconds");
    status.heldSeconds = number(view, "learn_held_seconds");
    status.tapedSeconds = number(view, "learn_taped_seconds");
    status.shownSeconds = number(view, "learn_shown_seconds");
    status.marks = static_cast<int>(number(view, "learn_marks"));
    status.markedSeconds = number(view, "learn_marked_seconds");
    status.fraction = juce::jlimit(0.0, 1.0, number(view, "learn_fraction"));
    status.gainDb = number(view, "learn_gain_db");
    status.audition = number(view, "learn_audition") > 0.5;
    status.message = text(view, "learn_message");
    return status;
}

juce::String LearnStatus::tapeWords() const {
    if (state == State::away) return "Learning needs the server";
    if (!armed()) return "Record the last 30 s";
    return "Recording: " + juce::String(juce::roundToInt(heldSeconds)) + " of " +
           juce::String(juce::roundToInt(armedSeconds)) + " s";
}

juce::String LearnStatus::markWords() const {
    if (marks == 0) return "No example yet";
    return juce::String(marks) + (marks == 1 ? " example, " : " examples, ") +
           juce::String(markedSeconds, 1) + " s";
}

juce::String LearnStatus::progressWords() const {
    if (fraction <= 0.0) return message.isEmpty() ? juce::String("Preparing.") : message;
    return "Learning " + percent(fraction) + juce::String::fromUTF8("  ·  ") +
           (gainDb >= 0.0 ? "+" : "") + juce::String(gainDb, 1) + " dB so far";
}

ProbeStatus ProbeStatus::of(const ServerView& view) {
    ProbeStatus status;
    const auto word = text(view, "probe_state");
    if (view.phase != ServerPhase::connected || word.isEmpty()) return status;
    status.state = word == "listening" ? State::listening
                   : word == "working" ? State::working
                   : word == "done"    ? State::done
                   : word == "old"     ? State::old
                                       : State::off;
    status.fraction = juce::jlimit(0.0, 1.0, number(view, "probe_fraction"));
    status.match = number(view, "probe_match", -1.0);
    status.keptShare = number(view, "kept_share", -1.0);
    status.message = text(view, "probe_message");
    return status;
}

juce::String ProbeStatus::words() const {
    const auto dot = juce::String::fromUTF8("  ·  ");
    auto kept = keptShare < 0.0 ? juce::String() : "Kept: " + percent(keptShare) + " of the mix";
    if (state == State::listening) return juce::String::fromUTF8("Listening… ") + percent(fraction);
    if (state == State::working) return juce::String::fromUTF8("Checking… ") + percent(fraction);
    if (state != State::done) return kept;
    if (match < 0.0) return "No result: see the tip";
    if (keptShare >= 0.0) kept = "Kept: " + percent(keptShare);
    const auto fit = "match " + juce::String(match, 2) + (match >= 0.7   ? ""
                                                          : match >= 0.3 ? ": faint"
                                                                         : ": expect little");
    return kept.isEmpty() ? fit : kept + dot + fit;
}

juce::String ProbeStatus::sentence() const {
    juce::String whole;
    if (keptShare >= 0.0)
        whole << "What is kept is " << percent(keptShare) << " of the mix just now. ";
    if (state == State::done && message.isNotEmpty())
        whole << "The prompt " << message << ".";
    else
        whole << "Check listens for ten seconds and tells how well the prompt fits.";
    return whole;
}

juce::Colour ProbeStatus::colour() const {
    if (state != State::done || match < 0.0) return colours::quiet;
    return match >= 0.7 ? colours::good : match >= 0.3 ? colours::warn : colours::bad;
}

}  // namespace stembridge
