// One generation: one selector object, one SlaveBegin, many packets, one SlaveTerminate.
#pragma once

#include "clones.h"
#include "input.h"
#include "inputlist.h"
#include "lastrows.h"
#include "limits.h"
#include "namesakes.h"
#include "notifies.h"
#include "rootguard.h"
#include "skips.h"
#include "status.h"
#include "localfiles.h"

#include <chrono>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

class TList;
class TSelector;

namespace dtpnode {

class SelectorClass;
class StreamRandom;

/// The checksum of one packet of global units, which must agree with tasks.Canary in Go.
uint64_t canary(uint64_t job, int64_t first, int64_t last);

/// fInput as the process has it from which a generation is forked.
struct LoadedInput {
  InputSource source;
  TList *list;
};

class Generation {
  using Clock = std::chrono::steady_clock;

 public:
  /// loaded is nullptr if the generation is to read fInput itself.
  Generation(Channel &channel, RootGuard &guard, const SelectorClass &cls, const LoadedInput *loaded);

  /// Works off requests until dtpnode is gone, the generation is sealed, or something fails.
  int run();

 private:
  struct Packet {
    uint64_t id, seq;
    std::string file, tree;
    long long first, last, base;
    bool clip;       // the tree may end before last
    long long total; // entries of the tree when it was planned, 0 if unknown
    std::string uuid; // of the file when it was planned, empty if unknown
    long long start;  // number of the tree's first entry over all files of the job
    long long end;    // where what is wanted of the file ends, 0 if unknown
  };

  nlohmann::json handle(const nlohmann::json &request);
  nlohmann::json begin(const nlohmann::json &request);
  nlohmann::json process(const nlohmann::json &request);
  nlohmann::json show(const nlohmann::json &request);
  nlohmann::json seal(const nlohmann::json &request);
  void startSelector(const std::string &option);
  const char *uncalled() const;
  void keepTrees();
  void seedRandom(const nlohmann::json &request);
  void attach(const Packet &p, Input &in);
  void announceLimits(const nlohmann::json &request);
  std::string lookAhead(const Packet &p);
  bool lookAt(const Packet &p, long long &run, Clock::time_point until);

  void open(Packet &p, bool &opened);
  static void compare(Packet &p, const Input &in, TTree &tree, const TFile &file);
  void leaveCurrent();
  long long loop(const Packet &p);
  void init(const Packet &p, Input &in);
  void readBeside(const Packet &p, Input &in);
  bool step(long long number);
  [[noreturn]] void failData(long long entry);
  void enterCluster(long long entry);
  bool aborted(Phase phase, long long entry);
  void mayAbortFile(const Packet &p, Phase phase, long long number);

  Channel &channel_;
  RootGuard &guard_;
  const SelectorClass &class_;
  const LoadedInput *loaded_;
  Inputs inputs_;
  LastRows lastRows_;
  InitObjects initObjects_;
  std::string announced_; // limits of histograms, as Announced::text() gives them
  std::unique_ptr<LimitsTrial> trial_; // of a process that tries the first entries of a job
  std::string perFile_; // the output object to which Init or Notify has added in the trial; empty for none
  std::vector<Packet> next_;           // where it looks behind the first packet's file
  Input *current_ = nullptr;
  bool chainShown_ = false; // Init() was called with the chain of all inputs
  bool whole_ = false; // no file is divided but where everything before went well
  Notifies notifies_;
  bool abortedInit_ = false; // Abort(kAbortFile) was called when current_ was opened
  Phase abortedIn_ = Phase::Init; // if it was, where
  std::string initReason_;
  long long clusterEnd_ = -1; // of the entry that runs
  TSelector *selector_ = nullptr;
  int version_ = 2;
  bool wholeOnWorker_ = false; // Begin and Terminate are the worker's, as in the days before SlaveBegin
  bool fileCycles_ = false;    // entries are files that the user has named, and not in trees
  StreamRandom *random_ = nullptr; // of a job with a seed
  Status status_;
  TList *input_ = nullptr;
  uint64_t job_ = 0, canary_ = 0;
  long long units_ = 0, entries_ = 0; // run so far; of all files of the job
  Skips skips_;
  Namesakes namesakes_;
  LocalFiles files_;
  bool sealed_ = false;
};

} // namespace dtpnode
