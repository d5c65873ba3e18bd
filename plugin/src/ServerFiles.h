// The two files through which plugin and server find each other, in the user's state folder.
//
//   server.json    written by a running server: protocol, port, pid, token
//   launcher.json  written by `stembridge plugin install`: the command that starts the server
//
// Not real-time. Files of another user, or that others may write, are refused.
#pragma once

#include <juce_core/juce_core.h>

namespace stembridge {

constexpr int kOscProtocol = 1;

struct ServerAddress {
    bool found = false;
    int protocol = 0;
    juce::String version;
    int pid = 0;
    juce::String host;
    int port = 0;
    juce::String token;

    bool operator==(const ServerAddress& other) const {
        return found == other.found && pid == other.pid && port == other.port &&
               token == other.token && host == other.host;
    }
};

juce::File stateFolder();
ServerAddress readServerAddress();

// The command of launcher.json; empty if there is none, with the reason for people in `problem`.
juce::StringArray readLauncher(juce::String& problem);

// A started server, seen from its starter. The process outlives the plugin.
class ServerStarter {
public:
    // Starts the launcher's command in the background; false with a sentence in `problem`.
    bool start(juce::String& problem);
    // True while the process that was started lives; collects it when it has ended.
    bool alive();

private:
    long processId = 0;
};

// True if a process of that id exists.
bool processExists(int pid);

}  // namespace stembridge
