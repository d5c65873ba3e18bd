// The one exception that the native part throws.
//
// A message is shown to a musician as it stands: it names the thing that is wrong and ends with
// what to do next. Only functions that are documented as "not real-time" throw. Python sees it
// as stembridge.errors.LinkError.
#pragma once

#include <stdexcept>

namespace stembridge {

class LinkError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

}  // namespace stembridge
