// Datasets by name, and what is left of logs and data of a session.
#include "TDSet.h"
#include "TDirectory.h"
#include "TError.h"
#include "TFile.h"
#include "TFileCollection.h"
#include "TFileInfo.h"
#include "TMap.h"
#include "TObjString.h"
#include "TProof.h"
#if __has_include("TProofOutputFile.h")
#include "TProofOutputFile.h"
#endif
#include "TQueryResult.h"
#include "TROOT.h"
#include "TSystem.h"
#include "TTree.h"
#include "query.h"
#include "session.h"

#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

using nlohmann::json;

namespace {

/// The path of a local file, the URL of another.
std::string fileOf(const TFileInfo &info) {
  TUrl &url = *info.GetCurrentUrl();
  return strcmp(url.GetProtocol(), "file") == 0 ? url.GetFile() : url.GetUrl();
}

} // namespace

Bool_t TProof::RegisterDataSet(const char *name, TFileCollection *dataset, const char *opt) {
  if (!fSession || !dataset || dataset->GetNFiles() == 0) {
    Error("RegisterDataSet", "there are no files");
    return kFALSE;
  }
  const TString how(opt);
  const std::string list = fSession->temporary(".txt");
  std::ofstream out(list);
  std::set<std::string> files;
  TIter next(dataset->GetList());
  std::string tree = TString(dataset->GetDefaultTreeName()).Strip(TString::kLeading, '/').Data();
  while (auto *info = static_cast<TFileInfo *>(next())) {
    const std::string file = fileOf(*info);
    if (!files.insert(file).second) continue;
    if (tree.empty()) {
      TString found;
      TDSet::GetEntries(kTRUE, file.c_str(), "", found);
      tree = found.Data();
    }
    out << file << '\n';
  }
  // "U" adds the files to those that the name has.
  const std::unique_ptr<TFileCollection> old(how.Contains("U") && ExistsDataSet(name) ? GetDataSet(name) : nullptr);
  TIter olds(old ? old->GetList() : nullptr);
  while (auto *info = static_cast<TFileInfo *>(olds()))
    if (files.insert(fileOf(*info)).second) out << fileOf(*info) << '\n';
  out.close();
  const char *own = gSystem->BaseName(name); // a group and the user go before it in PROOF's names
  std::vector<std::string> args{"dataset", "add", own, "@" + list};
  if (!tree.empty()) args.insert(args.end(), {"--tree", tree});
  if (how.Contains("O") || old) args.emplace_back("--replace");
  return fSession->call(args).status == 0;
}

Bool_t TProof::ExistsDataSet(const char *name) {
  return fSession && fSession->call({"dataset", "show", name, "--output", "json"}, true).status == 0;
}

TFileCollection *TProof::GetDataSet(const char *name, const char *) {
  if (!fSession) return nullptr;
  const dtpnode::Ended shown = fSession->call({"dataset", "show", name, "--output", "json"});
  const json set = json::parse(shown.out, nullptr, false);
  if (shown.status != 0 || !set.is_object()) return nullptr;
  auto *fc = new TFileCollection(name);
  for (const auto &f : set.value("files", json::array())) {
    const std::string url = f.value("url", "");
    std::error_code none; // of a file that is not on this host, what its tree takes is known
    const auto size = std::filesystem::file_size(url.rfind("file://", 0) == 0 ? url.substr(7) : url, none);
    auto *info = new TFileInfo(url.c_str(), none ? f.value("bytes", Long64_t{0}) : static_cast<Long64_t>(size));
    const std::string tree = "/" + f.value("part", "");
    info->AddMetaData(new TFileInfoMeta(tree.c_str(), "TTree", f.value("entries", Long64_t{-1})));
    info->SetBit(TFileInfo::kStaged);
    fc->Add(info);
    if (!*fc->GetDefaultTreeName() && tree.size() > 1) fc->SetDefaultTreeName(tree.c_str());
  }
  fc->Update();
  return fc;
}

TMap *TProof::GetDataSets(const char *, const char *) {
  auto *all = new TMap;
  all->SetOwnerKeyValue();
  if (!fSession) return all;
  const json sets = json::parse(fSession->call({"dataset", "ls", "--output", "json"}).out, nullptr, false);
  if (!sets.is_array()) return all;
  for (const auto &s : sets) {
    const std::string name = "/default/" + s.value("name", ""); // as PROOF named them, by group and owner
    all->Add(new TObjString(name.c_str()), GetDataSet(name.c_str()));
  }
  return all;
}

void TProof::ShowDataSets(const char *, const char *) {
  if (fSession) std::fputs(fSession->call({"dataset", "ls"}).out.c_str(), stdout);
}

void TProof::ShowDataSet(const char *name, const char *) {
  if (fSession) std::fputs(fSession->call({"dataset", "show", name}).out.c_str(), stdout);
}

Int_t TProof::RemoveDataSet(const char *name, const char *) {
  return fSession && fSession->call({"dataset", "rm", name}).status == 0 ? 0 : -1;
}

Int_t TProof::VerifyDataSet(const char *name, const char *) {
  if (!fSession) return -1;
  const dtpnode::Ended end = fSession->call({"dataset", "verify", name});
  std::fputs(end.out.c_str(), stdout);
  return end.status == 0 ? 0 : -1;
}

Int_t TProof::SetDataSetTreeName(const char *name, const char *tree) {
  const std::unique_ptr<TFileCollection> set(GetDataSet(name));
  if (!set) return -1;
  auto plain = std::make_unique<TFileCollection>(name);
  TIter next(set->GetList());
  while (auto *info = static_cast<TFileInfo *>(next()))
    plain->Add(new TFileInfo(info->GetCurrentUrl()->GetUrl()));
  plain->SetDefaultTreeName(tree);
  return RegisterDataSet(name, plain.get(), "O") ? 0 : -1;
}

TList *TProof::FindDataSets(const char *search, const char *) {
  auto *found = new TList;
  found->SetOwner();
  const std::unique_ptr<TMap> all(GetDataSets());
  TIter next(all.get());
  while (TObject *name = next())
    if (TString(name->GetName()).Contains(search)) found->Add(new TObjString(name->GetName()));
  return found;
}

TMap *TProof::GetDataSetQuota(const char *) { return new TMap; }

void TProof::ShowDataSetQuota(Option_t *) { Printf("Datasets are lists of files, for which there are no quotas"); }

Bool_t TProof::RequestStagingDataSet(const char *) {
  Error("RequestStagingDataSet", "files are read where they are: there is no staging");
  return kFALSE;
}

Bool_t TProof::CancelStagingDataSet(const char *) { return kFALSE; }

TFileCollection *TProof::GetStagingStatusDataSet(const char *) { return nullptr; }

void TProof::ShowStagingStatusDataSet(const char *, const char *) { Printf("There is no staging"); }

void TProof::ShowDataSetCache(const char *) {}

void TProof::ClearDataSetCache(const char *) {}

void TProof::ShowData() { Printf("What a query wrote to files is with its output; `dtpnode ps --all` lists what is kept"); }

// Files that are in no dataset are those that processes of this session's queries have left in their data folders.
void TProof::ClearData(UInt_t what, const char *name) {
  if (fSession && (what & (kUnregistered | kPurge))) {
    const json status = json::parse(fSession->call({"status", "--output", "json"}, true).out, nullptr, false);
    const std::string state = status.is_object() ? status.value("state_dir", "") : "";
    std::error_code ignored;
    if (!state.empty()) std::filesystem::remove_all(state + "/data/" + GetName(), ignored);
    if (fSession->members().size() > 1)
      Info("ClearData", "what is on other hosts than this one goes by itself, two weeks after it was written");
  }
  if ((what & kDataset) && name && *name) RemoveDataSet(name);
}

TTree *TProof::GetTreeHeader(TDSet *set) { return set ? set->GetTreeHeader(this) : nullptr; }

TObject *TProof::GetOutput(const char *name, TList *out) {
  if (!name || !*name || !out) return nullptr;
  if (TObject *o = out->FindObject(name)) return o;
#if __has_include("TProofOutputFile.h")
  TIter next(out);
  while (TObject *o = next()) {
    auto *output = dynamic_cast<TProofOutputFile *>(o);
    if (!output) continue;
    auto *file = static_cast<TFile *>(gROOT->GetListOfFiles()->FindObject(output->GetOutputFileName()));
    if (!file) file = TFile::Open(output->GetOutputFileName());
    if (!file || file->IsZombie()) {
      ::Warning("TProof::GetOutput", "could not open %s", output->GetOutputFileName());
      continue;
    }
    if (TObject *inside = file->Get(name)) return inside;
  }
#endif
  return nullptr;
}

//-- logs

TMacro *TProof::GetLastLog() {
  TQueryResult *q = GetQueryResult();
  if (!q || !fSession || !*q->GetResultFile()) return nullptr;
  std::istringstream lines(fSession->call({"logs", q->GetResultFile()}, true).out);
  if (TList *old = fLastLog.GetListOfLines()) old->Delete();
  for (std::string line; std::getline(lines, line);)
    fLastLog.AddLine(line.c_str());
  return &fLastLog;
}

void TProof::ShowLog(const char *ref) {
  TQueryResult *q = GetQueryResult(ref);
  if (!q || !fSession) return;
  std::fputs(fSession->call({"logs", q->GetResultFile()}).out.c_str(), stdout);
}

void TProof::ShowLog(Int_t query) { ShowLog(query < 0 ? "" : Reference(query).Data()); }

void TProof::GetLog(Int_t, Int_t) { ShowLog(); }

Int_t TProof::SavePerfTree(const char *, const char *) {
  Error("SavePerfTree", "there is no tree of the performance: `dtpnode status JOB --output json` has its figures");
  return -1;
}

void TProof::SetPerfTree(const char *, Bool_t) { SavePerfTree(); }
