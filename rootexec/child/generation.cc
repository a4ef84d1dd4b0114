#include "generation.h"

#include "blob.h"
#include "drawn.h"
#include "entrylist.h"
#include "isolate.h"
#include "perfile.h"
#include "place.h"
#include "proof.h"
#include "random.h"
#include "feedback.h"
#include "selector.h"

#include <TEntryList.h>
#include <TFile.h>
#include <TH1.h>
#include <TList.h>
#include <TNamed.h>
#include <TParameter.h>
#include <TROOT.h>
#include <TSelector.h>
#include <TSystem.h>
#include <TTree.h>
#include <algorithm>
#include <cstdlib>
#include <chrono>
#include <ctime>
#include <optional>
#include <nlohmann/json.hpp>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

namespace dtpnode {

using nlohmann::json;

namespace {

uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

void limitMemory(long long bytes) {
  if (bytes <= 0) return;
  rlimit limit{static_cast<rlim_t>(bytes), static_cast<rlim_t>(bytes)};
  ::setrlimit(RLIMIT_DATA, &limit);
}

// Only the soft limit: the output list, which is dtpnode's file, is written without it.
void limitFileSize(rlim_t bytes) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_FSIZE, &limit) != 0) return;
  limit.rlim_cur = std::min(bytes, limit.rlim_max);
  ::setrlimit(RLIMIT_FSIZE, &limit);
}

// The name of an object, for a sentence: it may have any length, and bytes that are no text.
std::string shortName(const std::string &name) {
  constexpr size_t most = 80;
  std::string out;
  for (const char c : name.substr(0, most))
    out += c > ' ' && c < 0x7f ? c : '_';
  return out;
}

} // namespace

uint64_t canary(uint64_t job, int64_t first, int64_t last) {
  return mix(mix(mix(job) ^ static_cast<uint64_t>(first)) ^ static_cast<uint64_t>(last));
}

Generation::Generation(Channel &channel, RootGuard &guard, const SelectorClass &cls, const LoadedInput *loaded)
    : channel_(channel), guard_(guard), class_(cls), loaded_(loaded), inputs_(guard) {}

int Generation::run() {
  answer(channel_, guard_, [&](const json &request) { return handle(request); }, [&] { return sealed_; });
  return 0;
}

json Generation::handle(const json &request) {
  const std::string op = request["op"];
  if (op == "begin") return begin(request);
  if (!selector_) throw Failure("internal", "generation asked for " + op + " before begin");
  if (op == "packet") return process(request);
  if (op == "snapshot") return show(request);
  if (op == "seal") return seal(request);
  throw Failure("internal", "generation asked for " + op);
}

json Generation::begin(const json &request) {
  const std::string dir = request.value("dir", "");
  if (!dir.empty() && !gSystem->ChangeDirectory(dir.c_str()))
    throw Failure("disk", "could not enter working directory " + dir);
  if (!dir.empty()) files_.begin();
  limitMemory(request.value("memory", 0LL));
  if (const long long bytes = request.value("filesize", 0LL); bytes > 0) {
    guard_.catchFileSize();
    limitFileSize(static_cast<rlim_t>(bytes));
  }
  guard_.setLax(request.value("lax", false));
  job_ = request.at("job");
  entries_ = request.value("entries", 0LL);
  inputs_.setSelection(request.value("selection", ""), request.value("home", ""));
  whole_ = request.value("whole", false);
  const InputSource source = InputSource::of(request);
  if (loaded_ && loaded_->source == source)
    input_ = loaded_->list;
  else
    guard_.run(Phase::Load, [&] { input_ = readInput(source, guard_); });
  // What the code reads of the environment is what it is where the job was submitted, as in one process.
  for (const auto &[name, value] : request.value("env", std::map<std::string, std::string>()))
    ::setenv(name.c_str(), value.c_str(), 1);
  seedRandom(request);
  guard_.run(Phase::Construct, [&] {
    selector_ = enterProofWorker(*input_, dir, request.value("data", ""), job_);
    if (!selector_ || selector_->IsA() != class_.type()) selector_ = class_.make();
    fileCycles_ = cyclesAreFiles(*input_);
  });
  namesakes_.watch(*selector_);
  namesakes_.keep(true);
  guard_.run(Phase::SlaveBegin, [&] { startSelector(request.value("option", "")); });
  namesakes_.keep(false);
  refuseDirectories(*selector_->GetOutputList());
  keepTrees();
  files_.warnOfOthers();
  announceLimits(request);
  if (aborted(Phase::SlaveBegin, -1)) {
    Failure f("abort", "the selector called Abort(kAbortFile) before there was a file" + guard_.abortReason() +
                           "; call it in Init, Notify or Process, or Abort(kAbortProcess) to end the job");
    f.step = phaseName(Phase::SlaveBegin);
    throw f;
  }
  if (version_ == 0 && selector_->GetStatus() == -1) {
    Failure f("abort", "SlaveBegin set the status to -1");
    f.step = "SlaveBegin";
    throw f;
  }
  return {{"op", "ready"}};
}

// A generation draws numbers of its own; with a seed, those of the entries that it runs.
void Generation::seedRandom(const json &request) {
  const auto seed = request.find("seed");
  if (seed != request.end() && seed->is_number())
    random_ = installStreams(seed->get<uint64_t>());
  else
    seedByChance();
}

// The calls are PROOF's on a worker, in their order. A selector of version 0 is of the time before there was
// SlaveBegin: its Begin and Terminate are called on both sides. One that has SlaveBegin and no Begin is none of these.
void Generation::startSelector(const std::string &option) {
  version_ = selector_->Version();
  wholeOnWorker_ = version_ == 0 && (class_.overrides("Begin") || !class_.overrides("SlaveBegin"));
  selector_->SetOption(option.c_str());
  selector_->SetInputList(input_);
  if (wholeOnWorker_)
    selector_->Begin(nullptr);
  else
    selector_->SlaveBegin(nullptr);
  status_.begun = selector_->GetStatus();
}

// Trees in no directory, with which ROOT crashes in Fill, are kept in memory: those of the output, and those that a
// member holds, which SlaveTerminate may add to it.
void Generation::keepTrees() {
  giveDirectories(*selector_->GetOutputList());
  for (TTree *tree : class_.looseTrees(*selector_))
    tree->SetDirectory(gROOT);
}

// A method that the class has, and that nobody calls for its version; empty if there is none that matters.
const char *Generation::uncalled() const {
  if (version_ != 0) return "";
  if (class_.overrides("Process") && !class_.overrides("ProcessCut") && !class_.overrides("ProcessFill"))
    return "Process";
  return wholeOnWorker_ && class_.overrides("SlaveBegin") ? "SlaveBegin" : "";
}

// All generations of a job are to find the same limits of histograms. The process that tries a job's first entry looks
// which these are.
void Generation::announceLimits(const json &request) {
  LimitsFinder &finder = LimitsFinder::install();
  if (request.value("trial", false)) {
    trial_ = std::make_unique<LimitsTrial>();
    trial_->watch(*selector_->GetOutputList());
    for (const json &next : request.value("next", json::array())) {
      Packet p{};
      p.file = next.at("file");
      p.tree = next.at("part");
      p.first = next.at("first");
      p.last = p.end = next.at("end");
      p.base = next.at("base");
      p.start = next.at("start");
      next_.push_back(std::move(p));
    }
    return;
  }
  if (const auto hints = request.find("hints"); hints != request.end() && hints->is_binary())
    announced_.assign(hints->get_binary().begin(), hints->get_binary().end());
  finder.announce(Announced(announced_));
  finder.prepare(*selector_->GetOutputList());
}

// Runs the entries behind a packet, those of the next files too, until histograms have found their limits, or for a
// while, in a process of its own: that the code may fail there says nothing yet.
std::string Generation::lookAhead(const Packet &p) {
  constexpr unsigned atMost = 12; // seconds, where a single entry takes long
  const TList &output = *selector_->GetOutputList();
  const Fd fd(::memfd_create("limits", MFD_CLOEXEC));
  if (fd.get() < 0) return "";
  const auto until = Clock::now() + std::chrono::seconds(8); // where files are read slowly, or the host has much to do
  tried(
      [&] {
        Packet rest = p;
        rest.first = p.last;
        rest.last = p.end > 0 || !current_ ? p.end : current_->tree->GetEntries();
        long long run = p.last - p.first;
        try {
          for (size_t i = 0; lookAt(rest, run, until) && i < next_.size(); ++i) {
            rest = next_[i];
            bool opened = false;
            open(rest, opened);
            if (rest.last <= 0) rest.last = current_->tree->GetEntries();
          }
        } catch (const Failure &) { // what was found until then counts
        }
        const std::string text = trial_->result(output, LimitsFinder::install()).text();
        return ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
      },
      atMost);
  guard_.enter(Phase::Idle);
  std::string out(static_cast<size_t>(::lseek(fd.get(), 0, SEEK_END)), '\0');
  return ::pread(fd.get(), out.data(), out.size(), 0) == static_cast<ssize_t>(out.size()) ? out : "";
}

// Runs the entries of a packet for that. False if there is no more to look for.
bool Generation::lookAt(const Packet &p, long long &run, Clock::time_point until) {
  constexpr long long lookEvery = 64;
  constexpr std::clock_t most = 2 * CLOCKS_PER_SEC; // of this process alone
  guard_.enter(Phase::Process);
  clusterEnd_ = -1;
  for (long long e = p.first; e < p.last; ++e, ++run) {
    if (random_) random_->enter(p.base + e);
    if (!step(e)) break; // the rest of the file is left out
    if (std::clock() > most || Clock::now() > until) return false; // one entry may take long
    if (run % lookEvery == 0 && trial_->done(*selector_->GetOutputList(), run)) return false;
  }
  return true;
}

json Generation::process(const json &request) {
  const auto start = Clock::now();
  Packet p{request.at("id"),   request.at("seq"),           request.at("file"),
           request.at("part"), request.at("first"),         request.at("last"),
           request.at("base"), request.value("clip", false), request.value("total", 0LL),
           request.value("uuid", ""), request.value("start", 0LL), request.value("end", 0LL)};
  SharedPage &page = guard_.page();
  page.packet.store(p.id);
  page.entry.store(-1);
  long long end = p.first, bytes = 0;
  bool opened = false;
  if (page.stop.load() < p.seq) {
    try {
      if (!fileCycles_)
        setProofElement(*input_, p.file, p.tree, p.first, p.last, p.total, p.base, !current_ || current_->url != p.file);
      if (!p.file.empty()) {
        open(p, opened);
        bytes = current_->reads().GetBytesRead();
        if (opened) bytes = 0;
      }
      end = loop(p);
      keepTrees();
      files_.spill(*selector_->GetOutputList());
      if (!p.file.empty()) bytes = current_->reads().GetBytesRead() - bytes;
    } catch (Failure &f) {
      if (f.file.empty()) f.file = p.file;
      if (!f.refused) throw;
      json out = failureFrame(f);
      out["op"] = "refused";
      out["id"] = p.id;
      return out;
    }
  }
  std::string hints;
  if (trial_ && trial_->wanted() && end == p.last) hints = lookAhead(p);
  page.entry.store(-1);
  if (end > p.first) {
    units_ += end - p.first;
    canary_ += canary(job_, p.base + p.first, p.base + end);
  }
  const auto ns =
      std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count();
  json out = {{"op", "done"}, {"id", p.id},     {"last", end},
              {"ns", ns},     {"bytes", bytes}, {"opened", opened},
              {"hints", json::binary({hints.begin(), hints.end()})}};
  if (!perFile_.empty()) out["whole"] = "Init or Notify adds to " + shortName(perFile_) + ", once for each file";
  return out;
}

void Generation::open(Packet &p, bool &opened) {
  if (!current_ || current_->url != p.file || current_->path != p.tree || current_->start != p.start) {
    Input *in = nullptr;
    try {
      guard_.run(Phase::Open, [&] {
        in = &inputs_.get(p.file, p.tree, p.start, opened);
        compare(p, *in, *in->own, *in->file);
        inputs_.show();
        compare(p, *in, *in->tree, in->reads()); // a chain has opened it once more, by its name
      });
    } catch (Failure &f) {
      if (opened) inputs_.forgetOpened(); // it was opened well, and is another than was planned
      if (current_ && current_->chain) current_ = nullptr; // the chain may be at none
      f.refused = f.kind == "open" || f.kind == "schema";
      guard_.clear();
      guard_.enter(Phase::Idle);
      throw;
    }
    if (current_ && current_->shown() != in->shown()) moveClones(*current_->shown(), *in->shown());
    leaveCurrent();
    current_ = in;
    guard_.clear();
    inputs_.prepareCache(*in, in->entryOf(p.first));
    // Objects that Init or Notify make must not belong to the input file.
    gROOT->cd();
    attach(p, *in);
    inputs_.shrinkOthers();
    if (guard_.tripped()) failData(-1);
    abortedInit_ = aborted(abortedIn_, -1);
    if (abortedInit_) {
      initReason_ = guard_.abortText();
      mayAbortFile(p, abortedIn_, -1);
    }
  } else {
    compare(p, *current_, *current_->own, *current_->file);
    inputs_.prepareCache(*current_, current_->entryOf(p.first));
    readBeside(p, *current_);
  }
}

// Shows the selector the tree of another file. Entry lists of the output go on with it.
void Generation::attach(const Packet &p, Input &in) {
  if (random_) random_->enter(StreamRandom::initOf(p.base));
  tellPlace(*input_, p.start, entries_);
  std::optional<PerFile> perFile;
  if (trial_) perFile.emplace(*selector_->GetOutputList());
  initObjects_.before(*selector_->GetOutputList());
  guard_.run(Phase::Init, [&] { init(p, in); });
  abortedIn_ = selector_->GetAbort() == TSelector::kContinue ? Phase::Notify : Phase::Init;
  initObjects_.after(*selector_->GetOutputList());
  keepTrees();
  if (trial_) trial_->watch(*selector_->GetOutputList());
  if (in.shown() != in.tree) moveClones(*in.tree, *in.shown());
  updateClones(*in.shown());
  // Readers that Init() attached to a chain are told of it, too; they hand that on to the selector.
  TObject *told = in.chain && in.chain->GetNotify() ? in.chain->GetNotify() : selector_;
  guard_.run(Phase::Notify, [&] { told->Notify(); });
  if (perFile) perFile_ = perFile->added(*selector_->GetOutputList());
  TIter next(selector_->GetOutputList());
  while (TObject *o = next())
    if (auto *list = dynamic_cast<TEntryList *>(o)) list->SetTree(in.tree);
}

// Calls Init() for each file, as PROOF's workers did, with the file's tree, or with a chain that is at the file. One
// process calls it once for a chain: code that makes a TTreeFormula in Init() alone then goes on with the leaves of the
// first file, and a friend that Init() adds for the file that it sees stays beside all.
//
// What friends need a chain for is the number of an entry over all files, by which they are read, and addresses that
// are set by the alias of a friend, which a tree does not know. Friends that Init() adds and that have as many entries
// as the file are beside this file alone, as PROOF's workers had them; the chain has no other file then.
void Generation::init(const Packet &p, Input &in) {
  if (!in.chain) {
    const int before = countFriends(*in.tree);
    selector_->Init(in.tree);
    if (countFriends(*in.tree) == before) return;
    const bool alone = friendsOfItsOwn(*in.tree, before, in.own->GetEntries());
    if (alone && !guard_.tripped()) return;
    TTree &own = *in.tree;
    own.ResetBranchAddresses();
    inputs_.chainFront(alone);
    moveClones(own, *in.chain); // which Init() has made of the file's tree; the chain has another tree of that file
  }
  const int given = inputs_.friends() ? inputs_.friends()->size() : 0;
  // A friend may come to its next file in the middle of this one. Readers that Init() attaches put themselves before.
  notifies_.to(selector_);
  if (!chainShown_) in.chain->SetNotify(&notifies_);
  chainShown_ = true;
  notifies_.muted([&] { selector_->Init(in.chain); });
  if (countFriends(*in.chain) > given) {
    const bool alone = friendsOfItsOwn(*in.chain, given, in.own->GetEntries());
    if (alone && given > 0 && p.start > 0 && readByNumber(*in.chain, given)) {
      Failure f("code", "Init() adds a friend with as many entries as this file has, which belongs to the file, "
                        "beside friends of all files that the job was given: their entries have different numbers. "
                        "Give the job all of its friends (--friend), or have Init() add all of them");
      f.step = phaseName(Phase::Init);
      f.file = p.file;
      throw f;
    }
    if (given == 0 && alone != inputs_.alone()) {
      inputs_.chainFront(alone);
      notifies_.muted([&] { selector_->Init(in.chain); });
    }
  }
  in.load(in.entryOf(p.first));
  readBeside(p, in);
}

// Has friends without a row for the first entry of a packet show what they would show in one process.
void Generation::readBeside(const Packet &p, Input &in) {
  if (!in.chain) return;
  if (inputs_.friends()) inputs_.friends()->readEnds(*in.chain, p.start + in.entryOf(p.first));
  lastRows_.read(in, p.first);
}

// Sees that the file of an input is the one that was planned, and its tree has as many entries.
void Generation::compare(Packet &p, const Input &in, TTree &tree, const TFile &file) {
  const long long entries = tree.GetEntries();
  if (p.clip) p.last = std::min(p.last, in.entries());
  const long long planned = in.chosen ? p.total : std::max(p.total, p.last);
  const std::string uuid = p.uuid.empty() ? "" : uuidOf(file);
  std::string why;
  if (p.total > 0 ? entries != planned : planned > entries)
    why = "the tree has " + std::to_string(entries) + " entries here, but " + std::to_string(planned) +
          " where it was planned: the file has changed since, or this is another file";
  else if (uuid != p.uuid && !uuid.empty())
    why = "the file's UUID is " + uuid + " here, but " + p.uuid +
          " where it was planned: it was written anew, with as many entries (--allow-copies if they are the same)";
  if (why.empty() && in.chosen && p.last > in.chosen->size())
    throw Failure("internal", "more entries are asked for than the list of entries has");
  if (why.empty()) return;
  Failure f("open", why);
  f.step = "open";
  f.error = kDiffers;
  throw f;
}

// Takes the selector's addresses out of the tree it leaves, while they still are what the tree
// thinks they are: Init() on the next tree will change them.
void Generation::leaveCurrent() {
  if (!current_) return;
  inputs_.learn(*current_);
  if (!current_->chain) current_->tree->ResetBranchAddresses(); // a chain sets them again in its next tree
}

long long Generation::loop(const Packet &p) {
  SharedPage &page = guard_.page();
  long long e = p.first, last = p.last, at = -1;
  std::string step = phaseName(abortedIn_), reason = initReason_;
  const bool opened = !p.file.empty() && abortedInit_;
  if (opened) last = std::min(last, p.first + 1); // ROOT still processes the first entry
  bool aborts = opened;
  clusterEnd_ = -1;
  guard_.run(Phase::Process, [&] {
    for (; e < last && page.stop.load(std::memory_order_relaxed) < p.seq; ++e) {
      page.entry.store(e, std::memory_order_relaxed);
      page.progress.store(page.progress.load(std::memory_order_relaxed) + 1,
                          std::memory_order_relaxed);
      if (random_) random_->enter(p.base + e);
      if (this->step(e) || opened) continue;
      mayAbortFile(p, Phase::Process, e);
      aborts = true;
      at = current_ ? current_->entryOf(e) : e;
      last = e + 1;
      step = phaseName(Phase::Process);
      reason = guard_.abortText();
    }
  });
  if (e < last) return e; // preempted
  if (aborts) skips_.note({p.base, p.file, p.tree}, last, p.last, std::max(p.end, p.last), at, step, reason);
  return p.last;
}

// Throws unless what Abort(kAbortFile) leaves out is the same however the work is divided.
void Generation::mayAbortFile(const Packet &p, Phase phase, long long number) {
  if (whole_) return;
  Failure f("abort", "the selector called Abort(kAbortFile)" + guard_.abortReason());
  if (p.file.empty())
    f.msg += "; this job has no files: Abort(kAbortProcess) ends it";
  else
    f.msg += "; since several processes share a file, what counts of it would depend on chance: give --whole-files, "
             "with which each file is read by one process, in order";
  f.step = phaseName(phase);
  f.file = p.file;
  f.entry = number;
  throw f;
}

// One entry, by its number among those that are run. False if the rest of the file is to be skipped.
bool Generation::step(long long number) {
  const long long entry = current_ ? current_->entryOf(number) : number;
  if (current_ && entry >= clusterEnd_) enterCluster(entry);
  if (current_ && current_->load(entry) < 0) {
    if (guard_.tripped()) failData(number);
    throw Failure("data", "could not load entry " + std::to_string(entry));
  }
  if (fileCycles_ && !current_ && !setProofFile(*input_, entry)) {
    Failure f("abort", "there are fewer files in PROOF_FilesToProcess than cycles: give --cycles the number of files");
    f.step = phaseName(Phase::Process);
    f.entry = entry;
    throw f;
  }
  PacketChain *chain = current_ ? current_->chain : nullptr;
  if (chain) chain->at(entry);
  if (version_ != 0)
    selector_->Process(entry);
  else if (selector_->ProcessCut(entry))
    selector_->ProcessFill(entry);
  if (chain) chain->at(-1);
  if (guard_.tripped()) failData(number);
  if (selector_->GetAbort() != TSelector::kContinue && aborted(Phase::Process, number)) return false;
  return true;
}

// ROOT has printed an error that user code would not look at.
void Generation::failData(long long entry) {
  Failure f = guard_.error();
  f.entry = entry;
  if (entry < 0) f.step = phaseName(Phase::Init);
  if (f.kind == "data" && entry >= 0) {
    f.first = guard_.page().clusterFirst.load();
    f.last = guard_.page().clusterLast.load();
  }
  throw f;
}

// Notes which cluster entry is in: it is what a read error spoils.
void Generation::enterCluster(long long entry) {
  auto clusters = current_->tree->GetClusterIterator(entry);
  const long long first = clusters.Next();
  clusterEnd_ = std::min<long long>(clusters.GetNextEntry(), current_->tree->GetEntries());
  const Chosen *chosen = current_->chosen.get();
  guard_.page().clusterFirst.store(chosen ? chosen->before(first) : first);
  guard_.page().clusterLast.store(chosen ? chosen->before(clusterEnd_) : clusterEnd_);
}

// True after Abort(kAbortFile); throws after Abort(kAbortProcess).
bool Generation::aborted(Phase phase, long long entry) {
  const TSelector::EAbort abort = selector_->GetAbort();
  if (abort == TSelector::kContinue) return false;
  selector_->ResetAbort();
  if (abort == TSelector::kAbortFile) return true;
  Failure f("abort", "the selector called Abort(kAbortProcess)" + guard_.abortReason());
  f.step = phaseName(phase);
  f.entry = entry;
  throw f;
}

// Writes what is asked for of the output so far. It is between two packets, so that user code does not run meanwhile.
json Generation::show(const json &request) {
  json reply;
  try {
    guard_.run(Phase::Seal, [&] { reply = snapshot(request, *selector_->GetOutputList(), units_, canary_); });
  } catch (const Failure &f) { // what cannot be shown is no failure of the job's
    guard_.enter(Phase::Idle);
    return {{"op", "snapped"}, {"id", request.at("id")}, {"units", -1}, {"msg", f.msg}};
  }
  return reply;
}

json Generation::seal(const json &request) {
  const std::string path = request.at("path");
  if (random_) random_->enter(StreamRandom::kSlaveTerminate);
  namesakes_.keep(true);
  guard_.run(Phase::SlaveTerminate, [&] {
    if (wholeOnWorker_)
      selector_->Terminate();
    else
      selector_->SlaveTerminate();
    files_.flush();
  });
  // One process goes on then, and says so in a line of its log: here the job ends, as by an Abort of an entry.
  if (selector_->GetAbort() != TSelector::kContinue) {
    Failure f("abort", "the selector called Abort()" + guard_.abortReason() +
                           "; return from SlaveTerminate if what is done is to count");
    f.step = phaseName(Phase::SlaveTerminate);
    throw f;
  }
  status_.end(selector_->GetStatus());
  leaveProofData();
  guard_.clear();
  limitFileSize(RLIM_INFINITY);
  guard_.run(Phase::Seal, [&] {
    TList &output = *selector_->GetOutputList();
    const TObject *drawn = addDrawn(*selector_, class_);
    recountEntryLists(output);
    BlobWriter blob(path);
    blob.add(TParameter<Long64_t>(kUnits, units_), kUnits, 0, false);
    blob.add(TParameter<Long64_t>(kCanary, static_cast<Long64_t>(canary_)), kCanary, 0, false);
    TList members;
    for (const auto &[member, object] : class_.membersIn(*selector_, output))
      members.Add(new TNamed(member.c_str(), object.c_str()));
    if (drawn) members.Add(new TNamed(kDrawn, drawn->GetName()));
    blob.add(members, kMembers, 0, false);
    if (!announced_.empty()) blob.add(TNamed(kLimits, announced_.c_str()), kLimits, 0, false);
    if (!skips_.empty()) {
      TList skipped;
      skips_.list(skipped);
      blob.add(skipped, kSkipped, 0, false);
    }
    TList status;
    status_.write(status);
    if (!status_.isZero()) blob.add(status, kStatus, 0, false);
    files_.addObjects(blob, output, initObjects_.parts(), namesakes_.kept());
    namesakes_.write(blob);
    if (const char *method = uncalled(); *method) blob.add(TNamed(kUncalled, method), kUncalled, 0, false);
    files_.addFiles(blob);
    blob.finish();
  });
  sealed_ = true;
  return {{"op", "sealed"}, {"units", units_}, {"canary", canary_}, {"apart", json::array()}};
}

} // namespace dtpnode
