// The plugin's side of OSC: one background thread and one loopback socket per instance.
//
// It finds the server, greets it, keeps the session equal to the wish of its delegate, collects
// status, and begins again by itself when the server goes, stops or comes back. It never needs the
// host's message loop. Nothing here is called on a real-time audio thread; an offline render may
// sleep in waitUntilDecided().
//
// Threads: the client's own thread runs everything marked [client]; public methods are for any
// other thread. The delegate must outlive stop().
#pragma once

#include "OscMessage.h"
#include "ServerFiles.h"
#include "ServerView.h"

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace stembridge {

// One learn verb with its arguments.
struct LearnStep {
    std::string verb;
    std::vector<OscValue> arguments;
};

class ServerClient {
public:
    struct Delegate {
        virtual ~Delegate() = default;
        virtual SessionWish sessionWish() = 0;                                // [client]
        virtual void housekeeping() = 0;                                      // [client]
        virtual void latencyKnown(const juce::String& key, int samples) = 0;  // [client]
        virtual void changedElsewhere(const juce::String& key, const juce::String& value) = 0;
        // The session's preset as the server has it; returns what the plugin's will be.
        virtual PresetDocument::Ptr promptsUnderstood(PresetDocument::Ptr preset) = 0;  // [client]
        virtual int drySamples() = 0;  // [client] of the last offline render, for want of a server
    };

    explicit ServerClient(Delegate& delegate);
    ~ServerClient();
    void start();
    void stop();  // closes the session, joins the thread

    ServerView view() const;
    std::vector<SpectrumColumn> takeSpectrum();  // newest columns since the last call
    void setWatched(bool editorOpen);            // a higher rate of status, with spectrum

    // Requests of the editor; the outcome appears in view().notice or view().error.
    void setPrompts(Side side, const juce::String& words);
    void setExample(Side side, const juce::File& file);
    void savePreset(const juce::String& name, bool replace, PresetDocument::Ptr preset);
    void fetchPreset(const juce::String& name);  // arrives by promptsUnderstood's sibling below
    void startServer();
    void dismissError();
    void learn(std::vector<LearnStep> steps);  // in order, until one is refused
    void probe(float seconds);

    // Called on the client's thread with a preset that fetchPreset() brought.
    std::function<void(PresetDocument::Ptr)> onPresetFetched;

    // Sleeps until `condition` holds, at most so long, and not at all (or no longer) when no server
    // is there, none is coming, or it does not answer. For offline rendering and preparing only.
    bool waitFor(const std::function<bool()>& condition, double timeoutSeconds);
    // The server has taken or refused the present wish; separates() says which.
    bool settled();
    bool separates() const;
    // How often a server has answered hello.
    int greetings() const { return greetingCount; }
    // A server is there or coming: waiting for it has a purpose.
    bool worthWaiting() const;

private:
    using Replies = std::vector<OscMessage>;
    using Handler = std::function<void(const Replies& replies, const OscMessage* error)>;
    struct Pending {
        std::string path;
        bool several = false;
        double deadlineMs = 0;
        Handler handler;
        Replies replies;
    };

    void run();                                    // [client] until stopping
    void receive(int timeoutMs);                   // [client]
    void handle(const OscMessage& message);        // [client]
    void handleAnswer(const OscMessage& message);  // [client]
    void handleEvent(const std::string& verb, const OscMessage& message);  // [client]
    void turn();                                                           // [client]
    void lookForServer(double now);                                        // [client]
    void lose(const juce::String& why, double now);                        // [client]
    void synchronise();                                                    // [client]
    void openSession(const SessionWish& wish);                             // [client]
    void refuse(const SessionWish& wish, const OscMessage& error);         // [client]
    void decide(const SessionWish& about, bool taken);                     // [client]
    void sendPreset(const juce::String& text, Handler done);               // [client]
    void sendPart(std::shared_ptr<std::vector<std::string>> parts, size_t index, Handler done);
    void nextStep(std::shared_ptr<std::vector<LearnStep>> steps, size_t index);  // [client]
    void adoptPrompts();                        // [client] those that the session has by now
    void takeAdopted(const SessionWish& wish);  // [client]
    void reportDryRender();                     // [client]
    void takeSpectrumColumn(const OscMessage& message);  // [client]
    void subscribe();                                    // [client]
    void listPresets();                                  // [client]
    void fetchText(const std::string& path, std::vector<OscValue> arguments, int attempts,
                   std::function<void(const juce::String&)> done);  // [client]
    void readLatency(const OscMessage& message, size_t first, const SessionWish& wish);
    void send(const std::string& path, std::vector<OscValue> arguments = {});
    void request(const std::string& path, std::vector<OscValue> arguments, double timeoutSeconds,
                 Handler handler, bool several = false);
    void post(std::function<void()> job);  // from other threads to [client]
    void change(const std::function<void(ServerView&)>& edit);
    void showError(const OscMessage& error);  // the server's words for people
    std::string sessionPath(const char* verb) const;

    Delegate& delegate;
    const std::string sessionId;
    std::unique_ptr<juce::DatagramSocket> socket;
    ServerAddress address;
    ServerStarter starter;
    std::vector<Pending> pending;

    enum class Stage { away, greeting, ready, presetSent, open } stage = Stage::away;
    SessionWish applied;          // what the server has confirmed or is being told
    bool refused = false;         // the server will not take `applied`
    PresetDocument::Ptr adopted;  // came from the session, so it need not be sent there
    int reportedDry = 0;
    int outstandingChanges = 0;
    double nextLookMs = 0, heardMs = 0, pingMs = 0, housekeepingMs = 0, processCheckMs = 0,
           startedMs = 0, subscribedMs = 0, greetedMs = 0, askAgainMs = 0;
    std::string latencyAsked;

    mutable std::mutex viewLock;
    ServerView shown;
    std::deque<SpectrumColumn> spectrum;
    std::mutex jobLock;
    std::vector<std::function<void()>> jobs;
    mutable std::mutex decidedLock;
    std::condition_variable decidedSignal;
    bool decided = false, separating = false;
    SessionWish decidedWish;
    std::atomic<bool> watched{false}, stopping{false}, startWanted{false}, greeted{false};
    std::atomic<double> silentSinceMs{0.0};
    std::atomic<int> greetingCount{0};
    std::thread thread;
};

}  // namespace stembridge
