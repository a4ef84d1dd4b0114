// Queries of a session: Begin and Terminate run here, in the user's process, and all between them on the pool.
#include "TChain.h"
#include "TClass.h"
#include "TDSet.h"
#include "TDrawFeedback.h"
#include "TError.h"
#include "TFile.h"
#include "TFileCollection.h"
#include "TFileInfo.h"
#include "TH1.h"
#include "THashList.h"
#include "TKey.h"
#include "TObjString.h"
#include "TParameter.h"
#include "TProof.h"
#include "TQueryResult.h"
#include "TROOT.h"
#include "TSelector.h"
#include "TStatsFeedback.h"
#include "TSystem.h"
#include "TTree.h"
#include "code.h"
#include "feedback.h"
#include "kepttree.h"
#include "query.h"
#include "session.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <unistd.h>

extern "C" long long dtpnodeProofFiles(const void *list); // worker.cxx

namespace {

using dtpnode::JobStatus;

/// The keys that the pool adds to a session's output: how the run went, and which member pointed to which object.
const char *const kInfo = "PROOF_SessionInfo";
const char *const kMembers = "PROOF_SessionMembers";

/// Shows on a terminal how far a query is.
class ProgressLine {
 public:
  explicit ProgressLine(bool on) : on_(on && ::isatty(STDERR_FILENO)) {}
  ~ProgressLine() { clear(); }

  void show(const JobStatus &s) {
    if (!on_ || s.units <= 0) return;
    constexpr int width = 30;
    const double part = std::min(1., static_cast<double>(s.done) / static_cast<double>(s.units));
    std::string bar(static_cast<size_t>(part * width), '=');
    bar.resize(width, ' ');
    std::fprintf(stderr, "\r\033[K[%s] %5.1f %%  %lld of %lld entries  %.0f s", bar.c_str(), 100 * part, s.done, s.units,
                 s.seconds);
    std::fflush(stderr);
    shown_ = true;
  }
  void clear() {
    if (!shown_) return;
    std::fprintf(stderr, "\r\033[K");
    std::fflush(stderr);
    shown_ = false;
  }

 private:
  bool on_, shown_ = false;
};

/// Writes the input list to a file, from which all its objects go to the processes. False if that fails.
bool writeInput(const TList &list, const std::string &path) {
  TDirectory::TContext keep;
  std::unique_ptr<TFile> file(TFile::Open(path.c_str(), "RECREATE"));
  if (!file || file->IsZombie()) return false;
  TIter next(&list);
  while (TObject *o = next()) {
    if (file->WriteTObject(o, *o->GetName() ? o->GetName() : o->ClassName()) <= 0) return false;
  }
  file->Close();
  return true;
}

/// What came back of a query.
struct Output {
  std::vector<TObject *> objects;
  TFile *file = nullptr; // that trees go on reading; null if there are none
  std::map<std::string, std::string> members;
  std::set<std::string> apart; // names that several objects have, since nobody can merge them
  Long64_t entries = 0;
};

/// Reads a job's output. Trees go on reading the file, which is open and nameless then.
bool readOutput(const std::string &path, Output &out) {
  TDirectory::TContext keep;
  const Bool_t add = TH1::AddDirectoryStatus();
  TH1::AddDirectory(kFALSE);
  auto *file = TFile::Open(path.c_str());
  bool trees = false;
  if (file && !file->IsZombie()) {
    TIter next(file->GetListOfKeys());
    while (auto *key = static_cast<TKey *>(next())) {
      const TClass *type = TClass::GetClass(key->GetClassName());
      const bool tree = type && type->InheritsFrom(TTree::Class()) && !type->InheritsFrom(TChain::Class());
      TObject *o = tree ? dtpnode::readKeptTree(*key) : key->ReadObj();
      if (!o) continue;
      const TString name(key->GetName());
      if (name == kMembers || name == kInfo) {
        TIter items(static_cast<TList *>(o));
        while (TObject *item = items()) {
          if (auto *n = dynamic_cast<TParameter<Long64_t> *>(item)) out.entries = n->GetVal();
          if (name == kMembers) out.members[item->GetName()] = item->GetTitle();
          if (name == kInfo && TString(item->GetName()) == "apart") out.apart.insert(item->GetTitle());
        }
        continue;
      }
      if (o->InheritsFrom(TTree::Class()))
        trees = true;
      else
        dtpnode::detach(*o);
      out.objects.push_back(o);
    }
  }
  TH1::AddDirectory(add);
  const bool good = file && !file->IsZombie();
  if (trees)
    out.file = file;
  else
    delete file;
  ::unlink(path.c_str());
  return good;
}

/// Adds what came back to a selector's output. Its list takes one object of a name, and is gone round for those that are
/// not merged.
void addAll(const Output &got, TList &output) {
  auto *hashed = dynamic_cast<THashList *>(&output);
  for (TObject *o : got.objects) {
    if (hashed && got.apart.count(o->GetName()) > 0 && output.FindObject(o->GetName()) &&
        !o->InheritsFrom(TTree::Class()))
      hashed->THashList::AddLast(o);
    else
      output.Add(o);
  }
  if (got.apart.empty()) return;
  std::string all;
  for (const std::string &name : got.apart)
    all += (all.empty() ? "" : ", ") + name;
  Warning("Process", "not merged are %s: Terminate finds one of each by its name, which counts a part of the query, and "
          "all of them in a loop over fOutput", all.c_str());
}

/// Gives trees back the file that they read: a list of a selector's output takes what is added out of its directory.
/// A KeptTree stays.
void keepReading(const Output &out) {
  for (TObject *o : out.objects)
    if (o->InheritsFrom(TTree::Class()) && !o->InheritsFrom(TChain::Class()))
      static_cast<TTree *>(o)->SetDirectory(out.file);
}

/// The options of a query that are PROOF's, not the selector's: asynchronous, and where the output goes to.
struct Options {
  bool async = false;
  std::string outFile, dataset;
  std::vector<std::string> feedback; // names of objects
  bool stats = false;                // how work is spread is to be drawn
  TString rest; // what the selector sees

  explicit Options(const char *given) : rest(given) {
    for (const char *word : {"ASYN", "asyn", "SYNC", "sync"}) {
      if (rest != word && !rest.BeginsWith(TString(word) + ";") && !rest.BeginsWith(TString(word) + " ")) continue;
      async = word[0] == 'A' || word[0] == 'a';
      rest.Remove(0, static_cast<Ssiz_t>(strlen(word)));
      rest = rest.Strip(TString::kLeading, ';');
    }
    TString part, kept;
    for (Ssiz_t from = 0; rest.Tokenize(part, from, "[; ]");) {
      const TString name = part.Contains("=") ? TString(part(0, part.Index("="))) : part;
      const TString value = part.Contains("=") ? TString(part(part.Index("=") + 1, part.Length())) : TString("");
      if (name == "of" || name == "outfile")
        outFile = value.BeginsWith("master:") ? value.Data() + 7 : value.Data();
      else if (name == "ds" || name == "dataset")
        dataset = TString(value).ReplaceAll("|V", "").Data();
      else if (name == "fb" || name == "feedback")
        addFeedback(value);
      else if (name == "stf" || name == "savetofile")
        any = true;
      else
        kept += (kept.IsNull() ? "" : " ") + part;
      any = any || name == "of" || name == "fb" || name == "feedback" || name == "outfile" || name == "ds" || name == "dataset";
    }
    if (any) rest = kept; // otherwise it stays as it is written
  }

 private:
  void addFeedback(const TString &names) {
    TString name;
    for (Ssiz_t from = 0; names.Tokenize(name, from, ",");) {
      if (name == "stats") {
        stats = true;
        feedback.insert(feedback.end(), {"PROOF_EventsHist", "PROOF_PacketsHist"});
      } else {
        feedback.emplace_back(name.Data());
      }
    }
  }

  bool any = false;
};

/// With PROOF's TPacketizerFile the cycles of a query were files, which the input list named. False if it names none.
bool countFiles(TList &input, Long64_t &n) {
  TString how;
  if (TProof::GetParameter(&input, "PROOF_Packetizer", how) != 0 || how != "TPacketizerFile") return true;
  n = dtpnodeProofFiles(&input);
  Int_t others = 1;
  if (TProof::GetParameter(&input, "PROOF_ProcessNotAssigned", others) == 0 && others == 0)
    ::Warning("TProof::Process", "PROOF_ProcessNotAssigned is not looked at: a file goes to whichever process is free");
  if (n > 0) return true;
  ::Error("TProof::Process", "PROOF_Packetizer is TPacketizerFile, and PROOF_FilesToProcess in the input list, a TMap of "
                             "hosts with lists of files, names no file");
  return false;
}

bool writeTo(const std::string &path, const TList &objects) {
  TDirectory::TContext keep;
  std::unique_ptr<TFile> file(TFile::Open(path.c_str(), "RECREATE"));
  if (!file || file->IsZombie()) return false;
  bool good = true;
  TIter next(&objects);
  while (TObject *o = next()) {
    auto *tree = o->InheritsFrom(TChain::Class()) ? nullptr : dynamic_cast<TTree *>(o);
    if (tree) {
      file->cd();
      // Whole baskets can be copied of a tree in a file alone; the copy is the file's.
      TTree *copy = tree->CloneTree(-1, tree->GetCurrentFile() ? "fast" : "");
      good = copy && copy->GetEntries() == tree->GetEntries() && copy->Write() > 0 && good;
    } else {
      good = file->WriteTObject(o, o->GetName()) > 0 && good;
    }
  }
  file->Close();
  return good;
}

} // namespace

// On PROOF's workers a branch that a file does not have was an error in the log, and the query went on. It does here, too,
// and the user is told.
void TProof::TellUnknownBranches(const std::string &job) {
  std::istringstream log(fSession->call({"logs", job}, true).out);
  std::map<std::string, int> said;
  const std::string mark = "unknown branch -> ";
  for (std::string line; std::getline(log, line);)
    if (const size_t at = line.find(mark); at != std::string::npos) ++said[line.substr(at + mark.size())];
  int shown = 0;
  for (const auto &[branch, times] : said) {
    if (++shown > 5) {
      Warning("Process", "and %zu other branches", said.size() - 5);
      return;
    }
    Warning("Process", "the selector has set the address of a branch %s that files do not have (%d times in the log): what "
                       "it reads there is not theirs", branch.c_str(), times);
  }
}

void TProof::KeepOutput(TList *output) {
  fOutput->Clear("nodelete");
  fHasOutput = output != nullptr;
  TIter next(output);
  while (TObject *o = next()) {
    o->SetBit(kMustCleanup);
    fOutput->Add(o);
  }
}

Long64_t TProof::Run(dtpnode::Query &query) {
  fLastError = "";
  fSelector = nullptr;
  if (!fSession) return Failed("Process", "the session is closed: open another by TProof::Open(\"\")");
  fStatus = -1;
  fRun = kRunning;
  fHasOutput = kFALSE;
  fOutput->Clear("nodelete");
  Options options(query.option);
  if (options.async || fMode == kAsync)
    Info("Process", "the query runs now, and Process() returns when it has ended: `dtpnode run --detach` runs it in the "
                    "background, and `dtpnode get` brings what came of it");
  const dtpnode::Selected chosen(query);
  if (!chosen.selector) return Failed("Process", chosen.error);
  TSelector &selector = *chosen.selector;
  ++fSeqNum;
  const TString tag = TString::Format("q%d", fSeqNum);
  // Selectors take what their Begin added by its place in the list: behind the tag, and before what the session adds.
  DeleteParameters("PROOF_QuerySeqNum");
  SetParameter("PROOF_QueryTag", TString::Format("%s:%s", GetName(), tag.Data()));
  auto *result = new TQueryResult(fSeqNum, options.rest, nullptr, query.n, query.first, chosen.source.c_str());
  result->SetName(tag);
  result->SetTitle(GetName());
  fQueries->Add(result);

  TList input;
  selector.GetOutputList()->Clear("nodelete"); // An object that has run before has its output, which refuses namesakes.
  selector.SetInputList(fInput);
  selector.SetOption(options.rest);
  selector.Begin(nullptr);
  if (selector.GetStatus() == -1 || selector.GetAbort() == TSelector::kAbortProcess) {
    result->fStatus = TQueryResult::kAborted;
    return Failed("Process", "the selector stopped the query in Begin");
  }
  SetParameter("PROOF_QuerySeqNum", fSeqNum);
  if (!fInput->FindObject("PROOF_MaxSlavesPerNode")) SetParameter("PROOF_MaxSlavesPerNode", Long_t{0});
  if (query.cycles && !countFiles(*fInput, query.n)) {
    fLastError = "the input list names no files for its cycles";
    return -1;
  }
  input.AddAll(fInput);
  input.AddAll(fInputData);
  std::vector<std::unique_ptr<TObject>> fromFile;
  if (!fInputDataFile.IsNull()) {
    TDirectory::TContext keep;
    std::unique_ptr<TFile> file(TFile::Open(fInputDataFile));
    if (!file || file->IsZombie())
      return Failed("Process", std::string("could not read the input data in ") + fInputDataFile.Data());
    TIter next(file->GetListOfKeys());
    while (auto *key = static_cast<TKey *>(next())) {
      TObject *o = key->ReadObj();
      if (!o) continue;
      if (!o->InheritsFrom(TTree::Class())) dtpnode::detach(*o);
      if (auto *t = dynamic_cast<TTree *>(o)) { // it is to be whole in memory, without its file
        gROOT->cd();
        o = t->CloneTree(-1);
        static_cast<TTree *>(o)->SetDirectory(nullptr);
        delete t;
      }
      fromFile.emplace_back(o);
      input.Add(o);
    }
  }
  TList trees; // a tree by itself would be taken for data to run over
  trees.SetName("PROOF_SessionTrees");
  for (TObjLink *link = input.FirstLink(); link;) {
    TObjLink *after = link->Next();
    if (TObject *o = link->GetObject(); o->InheritsFrom(TTree::Class())) {
      input.Remove(link);
      trees.Add(o);
    }
    link = after;
  }
  if (!trees.IsEmpty()) input.Add(&trees);
  TList lines;
  lines.SetName("PROOF_SessionExec");
  lines.SetOwner();
  for (const std::string &line : fCode->lines)
    lines.Add(new TObjString(line.c_str()));
  if (!lines.IsEmpty()) input.Add(&lines);
  TList carried; // a selector that is given as an object travels as it is
  if (query.object && selector.IsA()->GetClassVersion() > 0) {
    carried.SetName("PROOF_SelectorObject");
    carried.Add(query.object);
    selector.SetInputList(nullptr);
    input.Add(&carried);
  }
  const std::string in = fSession->temporary("-in.root"), out = fSession->temporary(".root");
  const bool written = writeInput(input, in);
  selector.SetInputList(fInput);
  input.Clear("nodelete");
  carried.Clear("nodelete");
  trees.Clear("nodelete");
  if (!written) return Failed("Process", "could not write the input list to " + in);

  std::string error;
  const bool compiled = chosen.library.empty();
  const std::string file = compiled ? chosen.source : chosen.library;
  std::vector<std::string> args{"run", file + (compiled && chosen.options.empty() ? "+" : chosen.options),
                                "--class", chosen.className, "--session", "--input", in, "-o", out,
                                "--option", options.rest.Data(), "--allow-missing-branches",
                                "--skip-missing"};
  const std::vector<std::string> data = dtpnode::dataArguments(query, *fSession, error);
  if (!error.empty()) return Failed("Process", error);
  args.insert(args.end(), data.begin(), data.end());
  const std::vector<std::string> code = fCode->arguments(file);
  args.insert(args.end(), code.begin(), code.end());

  std::vector<std::string> watched = options.feedback;
  TIter names(fFeedback);
  while (TObject *name = names())
    watched.emplace_back(name->GetName());
  dtpnode::Feedback feedback(watched, *fInput, *fSession);
  const std::vector<std::string> watch = feedback.arguments();
  args.insert(args.end(), watch.begin(), watch.end());
  const std::unique_ptr<TDrawFeedback> drawn(
      options.feedback.size() > (options.stats ? 2U : 0U) ? new TDrawFeedback(this) : nullptr);
  const std::unique_ptr<TStatsFeedback> spread(options.stats ? new TStatsFeedback(this) : nullptr);

  ProgressLine line(TestBit(kUseProgressDialog) && !fPrintProgress);
  int status = 0;
  result->fStatus = TQueryResult::kRunning;
  const JobStatus end = fSession->follow(
      args,
      [&](const JobStatus &s) {
        line.show(s);
        if (fPrintProgress) fPrintProgress(s.units, s.done, static_cast<Float_t>(s.seconds), s.bytes);
        Progress(s.units, s.done);
        if (const std::unique_ptr<TList> objects = feedback.look(s)) Feedback(objects.get());
        result->fNumWrks = std::max(result->fNumWrks, s.slots);
      },
      [&](const std::string &text) {
        line.clear();
        Printf("%s", text.c_str());
        fflush(stdout);
      },
      status);
  line.clear();
  ::unlink(in.c_str());
  result->fResultFile = end.id.c_str();
  result->fProcTime = static_cast<Float_t>(end.seconds);
  result->fBytes = end.bytes;
  result->fEnd.Set();
  fBytes += end.bytes;
  fReal += static_cast<Float_t>(end.seconds);
  fCpu += static_cast<Float_t>(end.seconds * std::max(end.slots, 1));
  if (status != 0 && status != 3) {
    result->fStatus = TQueryResult::kAborted;
    return Failed("Process", end.error.empty() ? "the query failed" : end.error, end.hint);
  }
  if (status == 3 && end.done < end.units)
    Warning("Process", "%lld of %lld entries are missing in the output: see `dtpnode status %s`", end.units - end.done,
            end.units, end.id.c_str());
  else if (status == 3) // whole files, of which nobody knows how many entries they have
    Warning("Process", "files are missing in the output: `dtpnode status %s` names them", end.id.c_str());
  for (const std::string &note : end.fileNotes)
    Warning("Process", "%s", note.c_str());
  TellUnknownBranches(end.id);
  Output got;
  if (!readOutput(out, got)) return Failed("Process", "could not read the output of the query from " + out);
  TList &output = *selector.GetOutputList();
  addAll(got, output);
  output.SetOwner(kFALSE);
  keepReading(got);
  dtpnode::bindMembers(selector, output, got.members);
  result->fStatus = status == 3 ? TQueryResult::kStopped : TQueryResult::kCompleted;
  result->fEntries = end.done;
  fStatus = 0;
  if (fInput->FindObject("PROOF_StatsHist")) dtpnode::addStats(end, output);
  fCurrent = &output; // what GetOutputList() is in Terminate
  fSelector = &selector;
  selector.Terminate();
  fCurrent = nullptr;
  result->fFinalized = kTRUE;
  result->fInputList = static_cast<TList *>(fInput->Clone());
  result->fOutputList = new TProofOutputList;
  TIter next(&output);
  while (TObject *o = next()) {
    o->SetBit(kMustCleanup);
    fOutput->Add(o);
    result->fOutputList->Add(o);
  }
  fHasOutput = kTRUE;
  if (!options.outFile.empty() && !writeTo(options.outFile, *fOutput))
    Error("Process", "could not write the output to %s", options.outFile.c_str());
  if (!options.outFile.empty()) Printf(" Output saved to %s", options.outFile.c_str());
  if (!options.dataset.empty()) RegisterOutput(options.dataset.c_str(), *result);
  QueryResultReady(TString::Format("%s:%s", GetName(), tag.Data()));
  return selector.GetStatus();
}

namespace {

/// The job that a list of file infos makes of itself.
std::unique_ptr<TDSet> setOf(TFileCollection *fc) {
  if (!fc) return nullptr;
  const TString tree(fc->GetDefaultTreeName());
  auto set = std::make_unique<TDSet>("", "*");
  if (!tree.IsNull()) {
    const Ssiz_t slash = tree.Last('/');
    set->SetObjName(slash == kNPOS ? tree.Data() : tree.Data() + slash + 1);
    set->SetDirectory(slash == kNPOS ? "/" : TString(tree(0, slash + 1)).Data());
  }
  set->Add(static_cast<TCollection *>(fc->GetList()), tree.IsNull() ? nullptr : tree.Data());
  return set;
}

dtpnode::Query over(const char *selector, TSelector *object, Option_t *option, Long64_t n, Long64_t first) {
  dtpnode::Query q;
  q.selector = selector ? selector : "";
  q.object = object;
  q.option = option;
  q.n = n < 0 || n >= TTree::kMaxEntries ? -1 : n;
  q.first = first;
  return q;
}

} // namespace

Long64_t TProof::Process(TDSet *set, const char *selector, Option_t *option, Long64_t n, Long64_t first) {
  dtpnode::Query q = over(selector, nullptr, option, n, first);
  q.set = set;
  return Run(q);
}

Long64_t TProof::Process(TDSet *set, TSelector *selector, Option_t *option, Long64_t n, Long64_t first) {
  dtpnode::Query q = over(nullptr, selector, option, n, first);
  q.set = set;
  return Run(q);
}

Long64_t TProof::Process(TFileCollection *fc, const char *selector, Option_t *option, Long64_t n, Long64_t first) {
  const std::unique_ptr<TDSet> set = setOf(fc);
  return Process(set.get(), selector, option, n, first);
}

Long64_t TProof::Process(TFileCollection *fc, TSelector *selector, Option_t *option, Long64_t n, Long64_t first) {
  const std::unique_ptr<TDSet> set = setOf(fc);
  return Process(set.get(), selector, option, n, first);
}

Long64_t TProof::Process(const char *name, const char *selector, Option_t *option, Long64_t n, Long64_t first,
                         TObject *list) {
  dtpnode::Query q = over(selector, nullptr, option, n, first);
  q.dataset = name ? name : "";
  q.entryList = list;
  return Run(q);
}

Long64_t TProof::Process(const char *name, TSelector *selector, Option_t *option, Long64_t n, Long64_t first,
                         TObject *list) {
  dtpnode::Query q = over(nullptr, selector, option, n, first);
  q.dataset = name ? name : "";
  q.entryList = list;
  return Run(q);
}

Long64_t TProof::Process(const char *selector, Long64_t n, Option_t *option) {
  dtpnode::Query q = over(selector, nullptr, option, n, 0);
  q.cycles = kTRUE;
  return Run(q);
}

Long64_t TProof::Process(TSelector *selector, Long64_t n, Option_t *option) {
  dtpnode::Query q = over(nullptr, selector, option, n, 0);
  q.cycles = kTRUE;
  return Run(q);
}

bool dtpnode::isPast(TTree &chain, Long64_t first) {
  constexpr Long64_t kNoSuchEntry = -2; // of TChain::LoadTree; other negative ones are of files that do not open here
  return first != 0 && chain.LoadTree(first) == kNoSuchEntry;
}

Long64_t TProof::ProcessChain(TTree *chain, const char *selector, TSelector *object, Option_t *option, Long64_t n,
                              Long64_t first) {
  auto *files = dynamic_cast<TChain *>(chain);
  if (!files)
    return Failed("Process", std::string("the tree ") + (chain ? chain->GetName() : "") + " is not a TChain, and only chains "
                  "can run on the pool", "make one of its file");
  TDSet set(*files, kFALSE);
  if (set.GetListOfElements()->IsEmpty())
    return Failed("Process", std::string("there are no files to run over: the chain ") + chain->GetName() + " has none",
                  "add some: Add() returns how many files it has found");
  // As TChain::Process, which calls nothing at all of a selector by its name, and of an object all but Process.
  if (dtpnode::isPast(*chain, first)) {
    if (!object) return 0;
    n = first = 0;
  }
  const TEntryList *list = chain->GetEntryList();
  if (list) first = std::min(first, list->GetN()); // behind its end there is nothing to process, and all else is called
  dtpnode::Query q = over(selector, object, option, n, first);
  q.set = &set;
  q.chain = chain;
  if (chain->TestBit(TChain::kGlobalWeight))
    Warning("Process", "the weight %g of the chain stays here: a selector that asks its tree is told that of each file. Put "
            "it into the input list, or into the selector", chain->GetWeight());
  return Run(q);
}

void TProof::RegisterOutput(const char *name, TQueryResult &result) {
  TIter next(fOutput);
  while (TObject *o = next()) {
    auto *files = dynamic_cast<TFileCollection *>(o);
    if (files && RegisterDataSet(name, files, "O")) return;
  }
  const TString own(gSystem->BaseName(name)); // without the group and the user that PROOF wrote before it
  const std::string path = std::string(gSystem->WorkingDirectory()) + "/" + own.Data() + ".root";
  TFileCollection files(own);
  files.Add(new TFileInfo(path.c_str()));
  if (!writeTo(path, *fOutput) || !RegisterDataSet(name, &files, "O")) {
    Error("Process", "could not register the output as dataset %s", name);
    return;
  }
  TFileCollection *registered = GetDataSet(name);
  if (!registered) return;
  registered->SetName(own);
  fOutput->Add(registered);
  result.fOutputList->Add(registered);
}

TObject *TProof::GetOutput(const char *name) { return GetOutput(name, GetOutputList()); }

TList *TProof::GetOutputNames() {
  auto *names = new TList;
  names->SetOwner();
  TIter next(fOutput);
  while (TObject *o = next())
    names->Add(new TNamed(o->GetName(), o->ClassName()));
  return names;
}

TQueryResult *TProof::GetQueryResult(const char *ref) {
  if (!ref || !*ref) return static_cast<TQueryResult *>(fQueries->Last());
  TIter next(fQueries);
  while (auto *q = static_cast<TQueryResult *>(next()))
    if (q->Matches(ref)) return q;
  return nullptr;
}

TString TProof::Reference(Int_t query) {
  TIter next(fQueries);
  while (auto *q = static_cast<TQueryResult *>(next()))
    if (query < 0 || q->GetSeqNum() == query) return TString::Format("%s:%s", q->GetTitle(), q->GetName());
  return "";
}

TList *TProof::GetListOfQueries(Option_t *) { return fQueries; }

Int_t TProof::GetNumberOfQueries() { return fQueries->GetSize(); }

void TProof::GetMaxQueries() { Printf("Queries are kept as long as the session; their jobs as `dtpnode ps --all` shows"); }

void TProof::ShowQueries(Option_t *) {
  fQueries->Print();
  if (fSession) std::fputs(fSession->call({"ps", "--all"}).out.c_str(), stdout);
}

Int_t TProof::Remove(const char *ref, Bool_t) {
  TQueryResult *q = GetQueryResult(ref);
  if (!q) return -1;
  fQueries->Remove(q);
  delete q;
  return 0;
}

Int_t TProof::Remove(Int_t query, Bool_t all) { return Remove(Reference(query), all); }

Int_t TProof::Retrieve(const char *ref, const char *path) {
  TQueryResult *q = GetQueryResult(ref);
  if (!q || !q->GetOutputList()) {
    Error("Retrieve", "there is no query %s with a result in this session", ref);
    return -1;
  }
  if (path && *path && !writeTo(path, *q->GetOutputList())) return -1;
  return 0;
}

Int_t TProof::Retrieve(Int_t query, const char *path) { return Retrieve(Reference(query), path); }

Int_t TProof::Archive(const char *ref, const char *url) { return Retrieve(ref, url); }

Int_t TProof::Archive(Int_t query, const char *url) { return Retrieve(query, url); }

Long64_t TProof::Finalize(const char *ref, Bool_t) {
  TQueryResult *q = GetQueryResult(ref);
  return q && q->IsFinalized() ? 0 : -1; // queries are finalized as they end
}

Long64_t TProof::Finalize(Int_t query, Bool_t force) { return Finalize(Reference(query), force); }

void TProof::StopProcess(Bool_t, Int_t) {
  Warning("StopProcess", "press Ctrl-C, or use `dtpnode cancel` or `dtpnode cancel --keep` with the job's name");
}

void TProof::ShowMissingFiles(TQueryResult *qr) {
  if (!qr) qr = GetQueryResult();
  if (qr && fSession) std::fputs(fSession->call({"status", qr->GetResultFile()}).out.c_str(), stdout);
}

TFileCollection *TProof::GetMissingFiles(TQueryResult *) { return nullptr; }
