// One generation: one selector object, one SlaveBegin, many packets, one SlaveTerminate.
#pragma once

#include "rootguard.h"
#include "input.h"
#include "status.h"

#include <map>
#include <nlohmann/json.hpp>
#include <string>

class TList;
class TSelector;

namespace dtpnode {

class SelectorClass;
class StreamRandom;

/// The checksum of one packet of global units, which must agree with tasks.Canary in Go.
uint64_t canary(uint64_t job, int64_t first, int64_t last);

class Generation {
 public:
  Generation(Channel &channel, RootGuard &guard, const SelectorClass &cls);

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
  };

  nlohmann::json handle(const nlohmann::json &request);
  nlohmann::json begin(const nlohmann::json &request);
  nlohmann::json process(const nlohmann::json &request);
  nlohmann::json show(const nlohmann::json &request);
  nlohmann::json seal(const nlohmann::json &request);
  void startSelector(const std::string &option);
  void seedRandom(const nlohmann::json &request);
  void attach(const Packet &p, Input &in);

  void open(Packet &p, bool &opened);
  static void compare(Packet &p, const Input &in);
  void leaveCurrent();
  long long loop(const Packet &p);
  void init(const Packet &p, Input &in);
  bool step(long long number);
  [[noreturn]] void failData(long long entry);
  void enterCluster(long long entry);
  bool aborted(Phase phase, long long entry);
  void skipped(const Packet &p, long long first);
  void skipBehind(const Packet &p, long long entry);

  Channel &channel_;
  RootGuard &guard_;
  const SelectorClass &class_;
  Inputs inputs_;
  Input *current_ = nullptr;
  std::map<std::string, long long> skipFrom_; // by file and tree: the first entry behind Abort(kAbortFile)
  long long clusterEnd_ = -1; // of the entry that runs
  TSelector *selector_ = nullptr;
  int version_ = 2;
  bool wholeOnWorker_ = false; // Begin and Terminate are the worker's, as in the days before SlaveBegin
  StreamRandom *random_ = nullptr; // of a job with a seed
  Status status_;
  TList *input_ = nullptr;
  uint64_t job_ = 0, canary_ = 0;
  long long units_ = 0;
  struct Skipped {
    long long first, entries;
  };
  std::map<std::string, Skipped> skippedIn_; // by file
  bool sealed_ = false;
};

} // namespace dtpnode
