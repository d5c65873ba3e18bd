// See ServerFiles.h. The server is started in its own session with a clean environment, because
// hosts change LD_LIBRARY_PATH and Python's variables for themselves.
#include "ServerFiles.h"

#include "PluginState.h"

#if !JUCE_WINDOWS
#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <string>
#include <vector>

extern char** environ;
#endif

namespace stembridge {
namespace {

const char* const kInstallAdvice = "Run once: stembridge plugin install";

juce::String environment(const char* name) {
    return juce::SystemStats::getEnvironmentVariable(name, {});
}

// Small file of this user's, or void.
juce::var readOwn(const juce::File& file) {
    if (!file.existsAsFile() || file.getSize() > 65536) return {};
#if !JUCE_WINDOWS
    struct stat info {};
    if (::stat(file.getFullPathName().toRawUTF8(), &info) != 0 || info.st_uid != ::geteuid() ||
        (info.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return {};
#endif
    juce::MemoryBlock bytes;
    juce::var root;
    if (!file.loadFileAsData(bytes) || !parseUntrusted(bytes.getData(), bytes.getSize(), root))
        return {};
    return root;
}

}  // namespace

juce::File stateFolder() {
    const auto own = environment("STEMBRIDGE_STATE_DIR");
    if (own.isNotEmpty() && juce::File::isAbsolutePath(own)) return juce::File(own);
#if JUCE_MAC
    return juce::File::getSpecialLocation(juce::File::userHomeDirectory)
        .getChildFile("Library/Application Support/stembridge");
#elif JUCE_WINDOWS
    return juce::File::getSpecialLocation(juce::File::windowsLocalAppData)
        .getChildFile("stembridge");
#else
    const auto base = environment("XDG_STATE_HOME");
    if (base.isNotEmpty() && juce::File::isAbsolutePath(base))
        return juce::File(base).getChildFile("stembridge");
    const auto home = environment("HOME");
    return juce::File(juce::File::isAbsolutePath(home) ? home : juce::String("/tmp"))
        .getChildFile(".local/state/stembridge");
#endif
}

ServerAddress readServerAddress() {
    const auto root = readOwn(stateFolder().getChildFile("server.json"));
    ServerAddress address;
    address.port = static_cast<int>(root["port"]);
    address.protocol = static_cast<int>(root["protocol"]);
    address.version = root["version"].toString();
    address.pid = static_cast<int>(root["pid"]);
    address.host = root["host"].toString();
    address.token = root["token"].toString();
    if (address.host.isEmpty() || address.host == "0.0.0.0") address.host = "127.0.0.1";
    address.found = address.port > 0 && address.port < 65536;
    return address;
}

juce::StringArray readLauncher(juce::String& problem) {
    const auto root = readOwn(stateFolder().getChildFile("launcher.json"));
    juce::StringArray command;
    if (const auto* words = root["command"].getArray())
        for (const auto& word : *words) command.add(word.toString());
    if (command.isEmpty() || !juce::File::isAbsolutePath(command[0])) {
        problem = juce::String("This plugin does not know which Python runs the server. ") +
                  kInstallAdvice;
        return {};
    }
    if (!juce::File(command[0]).existsAsFile()) {
        problem = "The Python of the server is gone (" + command[0] + "). " + kInstallAdvice;
        return {};
    }
    return command;
}

bool processExists(int pid) {
#if JUCE_WINDOWS
    juce::ignoreUnused(pid);
    return true;  // the link's heartbeat tells there
#else
    return pid > 0 && (::kill(pid, 0) == 0 || errno == EPERM);
#endif
}

bool ServerStarter::start(juce::String& problem) {
    const auto command = readLauncher(problem);
    if (command.isEmpty()) return false;
#if JUCE_WINDOWS
    juce::ChildProcess child;
    if (!child.start(command, 0)) {
        problem = "The server could not be started. Start it yourself: stembridge serve";
        return false;
    }
    return true;
#else
    std::vector<std::string> words, variables;
    for (const auto& word : command) words.push_back(word.toStdString());
    for (char** entry = environ; *entry != nullptr; ++entry) {
        const std::string variable(*entry);
        const auto name = variable.substr(0, variable.find('='));
        if (name != "LD_LIBRARY_PATH" && name != "LD_PRELOAD" && name != "PYTHONHOME" &&
            name != "PYTHONPATH" && name != "DYLD_LIBRARY_PATH")
            variables.push_back(variable);
    }
    const auto pointers = [](std::vector<std::string>& texts) {
        std::vector<char*> result;
        for (auto& text : texts) result.push_back(text.data());
        result.push_back(nullptr);
        return result;
    };
    auto arguments = pointers(words);
    auto variablePointers = pointers(variables);
    const auto log = stateFolder().getChildFile("server.log").getFullPathName().toStdString();
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 34)
    posix_spawn_file_actions_addclosefrom_np(&actions, 3);  // the host's files are not the server's
#endif
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
#ifdef POSIX_SPAWN_SETSID
    flags = static_cast<short>(flags | POSIX_SPAWN_SETSID);
#endif
    posix_spawnattr_setflags(&attributes, flags);
    pid_t pid = 0;
    const int error = ::posix_spawn(&pid, arguments[0], &actions, &attributes, arguments.data(),
                                    variablePointers.data());
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (error != 0) {
        problem = "The server could not be started (" + juce::String(std::strerror(error)) +
                  "). Start it yourself: stembridge serve";
        return false;
    }
    processId = pid;
    return true;
#endif
}

bool ServerStarter::alive() {
#if JUCE_WINDOWS
    return false;
#else
    if (processId == 0) return false;
    int status = 0;
    const auto ended = ::waitpid(static_cast<pid_t>(processId), &status, WNOHANG);
    if (ended == 0) return true;
    processId = 0;
    return false;
#endif
}

}  // namespace stembridge
