// Ties the learn panel, the probe line and the picture's selection to the server's verbs.
//
// The editor calls refresh() with what it copied from the client; presses go out as OSC requests
// and come back as status, never by a shortcut. Message thread.
#pragma once

#include "../Processor.h"
#include "LearnPanel.h"
#include "Spectrogram.h"

namespace stembridge {

class Learning final {
public:
    Learning(Processor& processor, Spectrogram& picture, NamePanel& names);
    void refresh(const ServerView& view);
    void setOpen(bool open);  // the panel is shown, so the picture can be selected

    LearnPanel panel;
    ProbeLine probe;

private:
    std::vector<LearnStep> markStep() const;
    void teach(const char* verb);
    bool isUserPreset(const juce::String& name) const;

    Processor& processor;
    Spectrogram& picture;
    LearnStatus status;
    std::vector<PresetRow> presets;
    bool open = false;
};

}  // namespace stembridge
