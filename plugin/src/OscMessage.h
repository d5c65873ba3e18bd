// OSC 1.0 messages as the Stembridge server speaks them: encode and decode, nothing else.
//
// Invariants: decoding never reads outside the datagram and never throws; whatever is not a
// well-formed message of the types i, f, s, b, T and F yields nothing. Encoding pads to four bytes.
// (juce_osc would need a second thread per instance and throws on addresses that it dislikes.)
#pragma once

#include <juce_core/juce_core.h>

#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace stembridge {

using OscBlob = std::vector<uint8_t>;
using OscValue = std::variant<int32_t, float, std::string, OscBlob>;

struct OscMessage {
    std::string path;
    std::vector<OscValue> arguments;

    // Lenient readers: the default when the argument is missing or of another kind.
    std::string text(size_t index) const;
    int integer(size_t index, int fallback = 0) const;
    float number(size_t index, float fallback = 0.0f) const;
};

// The datagram of a message; UTF-8 text, at most what UDP carries (the caller splits long texts).
std::vector<uint8_t> encode(const OscMessage& message);

// The message in a datagram, or nothing if it is malformed (bundles are not used by the server).
std::optional<OscMessage> decode(const uint8_t* data, size_t size);

}  // namespace stembridge
