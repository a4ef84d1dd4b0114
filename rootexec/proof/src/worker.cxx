// What the node's processes call to give user code the world of a PROOF worker. They know these functions by their
// names, which therefore are C's.
#include "TDSet.h"
#include "TError.h"
#include "TFileCollection.h"
#include "TFileInfo.h"
#include "TList.h"
#include "TMap.h"
#include "TNamed.h"
#include "TObjString.h"
#include "TParameter.h"
#include "TProofServ.h"
#include "TROOT.h"
#include "TSelector.h"
#include "TSystem.h"

#include <cctype>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace {

const char *const kCurrent = "PROOF_CurrentElement";

TDSetElement *current = nullptr;
TPair *holder = nullptr;

void replace(TList &input, TObject *o) {
  while (TObject *old = input.FindObject(o->GetName()))
    input.Remove(old);
  input.Add(o);
}

/// Puts an element into the input list in place of the one before.
void show(TList &input, TDSetElement *next) {
  if (!holder) {
    current = new TDSetElement;
    holder = new TPair(new TObjString(kCurrent), current);
  }
  if (!input.FindObject(holder)) input.Add(holder);
  holder->SetValue(next);
  delete current;
  current = next;
}

/// The folder for files that stay is below data: one of the session or job, and in it one of this process alone, so that
/// of an entry that is run twice both files are there, and the output names the one that counts.
void openDataFolder(const char *data, const TList &input) {
  TString tag;
  if (auto *query = dynamic_cast<TNamed *>(input.FindObject("PROOF_QueryTag"))) tag = query->GetTitle();
  if (const Ssiz_t colon = tag.Last(':'); colon != kNPOS) tag.Remove(colon);
  for (Ssiz_t i = 0; i < tag.Length(); ++i)
    if (!isalnum(static_cast<unsigned char>(tag[i])) && tag[i] != '-' && (tag[i] != '.' || i == 0)) tag[i] = '_';
  const TString base = TString(data) + "/" + (tag.IsNull() ? gProofServ->GetSessionTag() : tag.Data());
  TString path = base + "/" + gProofServ->GetOrdinal();
  for (int i = 2; !gSystem->AccessPathName(path); ++i)
    path.Form("%s/%s-%d", base.Data(), gProofServ->GetOrdinal(), i);
  if (gSystem->mkdir(path, kTRUE) != 0) {
    Warning("dtpnode", "could not make the folder %s, in which files of a PROOF worker stay", path.Data());
    return;
  }
  gProofServ->SetDataDir(path);
}

/// The names of files that the user wants made, as PROOF's TPacketizerFile handed them to workers: a map of hosts with
/// lists of names or of TFileInfos. Hosts and their order do not matter here, so that they are sorted.
const std::vector<TObject *> &filesToMake(const TList &input) {
  static const TList *of = nullptr;
  static std::vector<TObject *> files;
  if (of == &input) return files;
  of = &input;
  files.clear();
  const TObject *how = input.FindObject("PROOF_Packetizer");
  auto *map = dynamic_cast<TMap *>(input.FindObject("PROOF_FilesToProcess"));
  if (!how || !map || strcmp(how->GetTitle(), "TPacketizerFile") != 0) return files;
  std::map<std::string, TCollection *> lists;
  TIter next(map);
  while (TObject *host = next()) {
    TObject *value = map->GetValue(host);
    auto *set = dynamic_cast<TFileCollection *>(value);
    if (auto *list = set ? set->GetList() : dynamic_cast<TCollection *>(value)) lists[host->GetName()] = list;
  }
  for (const auto &[host, list] : lists) {
    TIter each(list);
    while (TObject *file = each())
      files.push_back(file);
  }
  return files;
}

} // namespace

/// How many files a query is to make or to process by their names, a cycle for each; -1 if its cycles are no files.
extern "C" long long dtpnodeProofFiles(const void *list) {
  const auto &input = *static_cast<const TList *>(list);
  const auto n = static_cast<long long>(filesToMake(input).size());
  const TObject *how = input.FindObject("PROOF_Packetizer");
  return n > 0 || (how && strcmp(how->GetTitle(), "TPacketizerFile") == 0) ? n : -1;
}

/// Says which of these files a cycle is for. False if there are fewer.
extern "C" bool dtpnodeProofFile(void *list, long long cycle) {
  auto *input = static_cast<TList *>(list);
  const auto &files = filesToMake(*input);
  if (cycle < 0 || cycle >= static_cast<long long>(files.size())) return false;
  TObject &file = *files[static_cast<size_t>(cycle)];
  auto *info = dynamic_cast<TFileInfo *>(&file);
  auto *element = new TDSetElement(info ? info->GetCurrentUrl()->GetUrl() : file.GetName(), "", "", 0, 1);
  Int_t wanted = 0;
  if (auto *p = dynamic_cast<TParameter<Int_t> *>(input->FindObject("PROOF_IncludeFileInfoInPacket"))) wanted = p->GetVal();
  if (info && wanted == 1) element->AddAssocObj(info->Clone());
  element->SetBit(TDSetElement::kEmpty);
  element->SetBit(TDSetElement::kNewPacket);
  show(*input, element);
  return true;
}

/// Says in the job's log what this process leaves in its folder for files that stay, and removes the folder if that is
/// nothing.
extern "C" void dtpnodeProofData() {
  const TString dir = gProofServ ? gProofServ->GetDataDir() : "";
  if (dir.IsNull() || dir == gProofServ->GetWorkDir()) return;
  std::error_code ignored;
  Long64_t files = 0, bytes = 0;
  for (std::filesystem::recursive_directory_iterator it(dir.Data(), ignored), end; it != end; it.increment(ignored)) {
    if (!it->is_regular_file(ignored)) continue;
    ++files;
    bytes += static_cast<Long64_t>(it->file_size(ignored));
  }
  if (files > 0) {
    Printf("dtpnode: %lld files of %.1f MB stay on %s in %s: they are not part of the output", files,
           static_cast<double>(bytes) / 1e6, gSystem->HostName(), dir.Data());
    return;
  }
  std::filesystem::remove(dir.Data(), ignored);
  std::filesystem::remove(gSystem->GetDirName(dir).Data(), ignored); // unless others are in it
}

/// Makes this process a worker: gProofServ, and what PROOF put into the input list of each. dir is where it works, job
/// the name of the job, id a number that no other process of the job has. data is the folder for files that stay on this
/// host, empty for none. Lines of C++ that a session's Exec() was given
/// are run. What is returned is a selector that a session gave as an object, null if there is none.
extern "C" void *dtpnodeProofWorker(void *list, const char *dir, const char *data, const char *job, int id) {
  auto *input = static_cast<TList *>(list);
  if (!gProofServ) gProofServ = new TProofServ;
  gProofServ->SetPlace(dir, job, id, 1);
  if (auto *query = dynamic_cast<TParameter<Int_t> *>(input->FindObject("PROOF_QuerySeqNum")))
    gProofServ->SetQuery(query->GetVal());
  else
    input->Add(new TParameter<Int_t>("PROOF_QuerySeqNum", 1));
  // PROOF put the tag before what Begin adds, and selectors take that by its place in the list.
  if (!input->FindObject("PROOF_QueryTag")) input->AddFirst(new TNamed("PROOF_QueryTag", job));
  replace(*input, new TNamed("PROOF_Ordinal", gProofServ->GetOrdinal()));
  gSystem->Setenv("LOCALDATASERVER", "file://"); // by which code names files of its host
  if (*data) openDataFolder(data, *input);
  if (auto *lines = dynamic_cast<TList *>(input->FindObject("PROOF_SessionExec"))) {
    TIter next(lines);
    while (TObject *line = next())
      gROOT->ProcessLine(line->GetName());
    input->Remove(lines);
  }
  if (auto *trees = dynamic_cast<TList *>(input->FindObject("PROOF_SessionTrees"))) {
    input->Remove(trees);
    input->AddAll(trees);
  }
  auto *carried = dynamic_cast<TList *>(input->FindObject("PROOF_SelectorObject"));
  TObject *selector = carried ? carried->First() : nullptr;
  if (!selector || !selector->InheritsFrom(TSelector::Class())) return nullptr;
  input->Remove(carried);
  return static_cast<TSelector *>(selector);
}

/// Says which entries of which file are processed next: first and number, in a tree with so many entries. fresh says
/// that the process has not had the file before.
extern "C" void dtpnodeProofElement(void *list, const char *file, const char *tree, long long first, long long num,
                                    long long entries, long long offset, bool fresh) {
  auto *input = static_cast<TList *>(list);
  TString path(tree), dir("/");
  if (const Ssiz_t slash = path.Last('/'); slash != kNPOS) {
    dir += TString(path(0, slash + 1)).Strip(TString::kLeading, '/');
    path.Remove(0, slash + 1);
  }
  auto *next = new TDSetElement(file, path, dir, first, num);
  next->SetEntries(entries);
  next->SetTDSetOffset(offset);
  next->SetValid();
  next->SetLookedUp();
  next->SetBit(TDSetElement::kNewRun, fresh);
  next->SetBit(TDSetElement::kNewPacket);
  show(*input, next);
}
