// What the server says of learning and probing, out of the status pairs; and the words for it.
// Pure: no widget, no clock.
#pragma once

#include "../ServerView.h"
#include "Look.h"

namespace stembridge {

struct LearnStatus {
    enum class State { away, off, armed, learning, learned };  // away: no open session

    State state = State::away;
    double armedSeconds = 0, heldSeconds = 0, tapedSeconds = 0, shownSeconds = 0;
    int marks = 0;
    double markedSeconds = 0;
    double fraction = 0, gainDb = 0;
    bool audition = false;  // the learned prompt plays
    juce::String message;

    static LearnStatus of(const ServerView& view);
    bool armed() const { return armedSeconds > 0; }
    // Places on the tape between which sound can be taken.
    juce::Range<double> tape() const { return {tapedSeconds - heldSeconds, tapedSeconds}; }
    juce::String tapeWords() const;
    juce::String markWords() const;
    juce::String progressWords() const;
};

struct ProbeStatus {
    enum class State { away, off, listening, working, done, old };

    State state = State::away;
    double fraction = 0;
    double match = -1, keptShare = -1;  // -1: not known
    juce::String message;

    static ProbeStatus of(const ServerView& view);
    juce::String words() const;     // what fits beside the picture's legend
    juce::String sentence() const;  // the whole of it
    juce::Colour colour() const;
    bool busy() const { return state == State::listening || state == State::working; }
};

}  // namespace stembridge
