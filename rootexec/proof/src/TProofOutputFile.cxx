#include "TProofOutputFile.h"

#include "TFile.h"
#include "TFileCollection.h"
#include "TFileMerger.h"
#include "TProofServ.h"
#include "TROOT.h"
#include "TSystem.h"
#include "TUrl.h"

#include <cstring>

namespace {

bool has(const char *option, char letter) {
  return option && std::strchr(option, letter);
}

// The path below a folder that a path of the user's stands for: each process has a folder of its own, so that no two
// write to one file, and what leads out of it leads to the same place within.
TString below(TString path) {
  TString out, part;
  for (Ssiz_t from = 0; path.Tokenize(part, from, "/");) {
    if (part.IsNull() || part == "." || part == ".." || part == "~") continue;
    if (!out.IsNull()) out += "/";
    out += part;
  }
  return out;
}

} // namespace

TProofOutputFile::TProofOutputFile() = default;

TProofOutputFile::TProofOutputFile(const char *path, const char *option, const char *dsname) : TNamed(path, "") {
  if (has(option, 'L')) fTypeOpt = kLocal;
  if (has(option, 'D') && !has(option, 'M')) {
    fRunType = kDataset;
    fTypeOpt = kCreate;
    if (has(option, 'R')) fTypeOpt |= kRegister;
    if (has(option, 'O')) fTypeOpt |= kOverwrite;
    if (has(option, 'V')) fTypeOpt |= kVerify;
  }
  Init(path, dsname);
}

TProofOutputFile::TProofOutputFile(const char *path, ERunType type, UInt_t opt, const char *dsname)
    : TNamed(path, ""), fRunType(type), fTypeOpt(opt) {
  Init(path, dsname);
}

TProofOutputFile::~TProofOutputFile() {
  delete fDataSet;
  delete fMerger;
}

void TProofOutputFile::Init(const char *path, const char *dsname) {
  fLocalHost = gSystem->HostName();
  fWorkerOrdinal = gProofServ ? gProofServ->GetOrdinal() : "0";
  TString whole(path ? path : "");
  // Processes do not share a folder, and all files of one name are merged: no number of a process is wanted in it.
  whole.ReplaceAll("<ord>", "");
  TUrl url(Resolved(whole), kTRUE);
  const Bool_t local = std::strcmp(url.GetProtocol(), "file") == 0;
  if (std::strlen(url.GetOptions()) > 0) fOptionsAnchor += TString("?") + url.GetOptions();
  if (std::strlen(url.GetAnchor()) > 0) fOptionsAnchor += TString("#") + url.GetAnchor();
  fRelative = local ? below(url.GetFile()) : TString(gSystem->BaseName(url.GetFile()));
  fFileName = gSystem->BaseName(fRelative);
  fRawDir = gSystem->WorkingDirectory();
  if (const Ssiz_t slash = fRelative.Last('/'); slash != kNPOS) fRawDir += "/" + fRelative(0, slash);
  fDir = fRawDir;
  if (AssertDir(fRawDir) != 0) Error("Init", "could not make the folder %s", fRawDir.Data());
  SetName(fFileName);
  if (!IsMerge()) SetTitle(dsname && *dsname ? dsname : fFileName.Data());
  fWanted = local ? TString(TUrl(whole, kTRUE).GetFile()) : whole;
  if (!fWanted.EndsWith(".root") && !fWanted.Contains("?")) fWanted += ".root";
  fWanted = WorkerWords(fWanted);
  fOutputFileName = Resolved(fWanted);
}

TString TProofOutputFile::Resolved(const TString &name) const {
  TString out(name);
  if (!out.Contains("<")) return out;
  UserGroup_t *info = gSystem->GetUserInfo();
  const TString user = info ? info->fUser : TString("nobody");
  const TString group = info ? info->fGroup : TString("default");
  delete info;
  TString file = fFileName;
  if (!file.EndsWith(".root")) file += ".root";
  out.ReplaceAll("<user>", user);
  out.ReplaceAll("<u>", user(0, 1));
  out.ReplaceAll("<group>", group);
  out.ReplaceAll("<homedir>", gSystem->HomeDirectory());
  out.ReplaceAll("<host>", gSystem->HostName());
  out.ReplaceAll("<file>", file);
  out.ReplaceAll("<rver>", gROOT->GetVersion());
  out.ReplaceAll("<build>", TString(gROOT->GetVersion()) + "-" + gSystem->GetBuildArch() + "-" +
                                gSystem->GetBuildCompilerVersion());
  // The merged file goes to the user's folder, which stands for the master's folder of data.
  out.ReplaceAll("<datadir>/", "");
  out.ReplaceAll("<ord>", "");
  return out;
}

// The words that only a worker knows are the same on all of them, and are replaced here; the others are those of the
// side that is asked.
TString TProofOutputFile::WorkerWords(const TString &name) {
  TString out(name);
  if (!gProofServ) return out;
  out.ReplaceAll("<stag>", gProofServ->GetSessionTag());
  out.ReplaceAll("<qnum>", TString::Format("%d", gProofServ->GetQuerySeqNum()));
  return out;
}

void TProofOutputFile::SetOutputFileName(const char *name) {
  fWanted = WorkerWords(name ? name : "");
  fOutputFileName = Resolved(fWanted);
  SetBit(kOutputFileNameSet);
}

TFile *TProofOutputFile::OpenFile(const char *option) {
  if (fFileName.IsNull()) return nullptr;
  return TFile::Open(fRawDir + "/" + fFileName + fOptionsAnchor, option);
}

Int_t TProofOutputFile::AdoptFile(TFile *file) {
  if (!file || file->IsZombie() || !file->GetEndpointUrl()) {
    Error("AdoptFile", "this is no open file");
    return -1;
  }
  TString path = file->GetEndpointUrl()->GetFile();
  if (!gSystem->IsAbsoluteFileName(path)) path = TString(gSystem->WorkingDirectory()) + "/" + path;
  fFileName = gSystem->BaseName(path);
  fRawDir = gSystem->GetDirName(path);
  fDir = fRawDir;
  const TString here = TString(gSystem->WorkingDirectory()) + "/";
  fRelative = path.BeginsWith(here) ? TString(path(here.Length(), path.Length())) : fFileName;
  return 0;
}

Long64_t TProofOutputFile::Merge(TCollection *list) {
  fMerged = kTRUE;
  return list ? list->GetSize() : 0;
}

TFileCollection *TProofOutputFile::GetFileCollection() {
  if (!fDataSet) fDataSet = new TFileCollection(GetTitle());
  return fDataSet;
}

TFileCollection *TProofOutputFile::TakeFileCollection() {
  TFileCollection *out = GetFileCollection();
  fDataSet = nullptr;
  return out;
}

TFileMerger *TProofOutputFile::GetFileMerger(Bool_t local) {
  if (!fMerger) fMerger = new TFileMerger(local);
  return fMerger;
}

void TProofOutputFile::Print(Option_t *) const {
  Info("Print", "%s: file %s/%s%s of host %s, process %s", GetName(), fRawDir.Data(), fFileName.Data(),
       fOptionsAnchor.Data(), fLocalHost.Data(), fWorkerOrdinal.Data());
  if (IsMerge())
    Info("Print", "%s: merged into %s", GetName(), fOutputFileName.Data());
  else
    Info("Print", "%s: a part of the data set %s (%s%s%s)", GetName(), GetTitle(), fTypeOpt & kRegister ? "R" : "",
         fTypeOpt & kOverwrite ? "O" : "", fTypeOpt & kVerify ? "V" : "");
}

Int_t TProofOutputFile::AssertDir(const char *path) {
  if (!gSystem->AccessPathName(path)) return 0;
  return gSystem->mkdir(path, kTRUE) == 0 ? 0 : -1;
}

void TProofOutputFile::Place(const char *path, const char *name) {
  if (!*name) { // the generation is over, and only the file's place in its folder is of use to others
    fRecord = *path ? TString(path) : fRelative;
    return;
  }
  fMerged = kTRUE;
  fRecord = "";
  fRawDir = gSystem->GetDirName(path);
  fDir = fRawDir;
  fFileName = gSystem->BaseName(path);
  fOutputFileName = name;
  fWanted = name;
}

// What the process that runs the selector knows of this class: it is not linked with this library, which is not always
// loaded. The structure is PlainOutputFile of rootexec/child/outputfile.cc.
extern "C" {

struct DtpnodeOutputFile {
  const char *path, *name, *dataset;
  int registers, overwrites;
};

int dtpnode_output_file_describe(const TObject *object, DtpnodeOutputFile *out) {
  const auto *file = dynamic_cast<const TProofOutputFile *>(object);
  if (!file) return 0;
  static TString path, name;
  path = file->Path();
  name = file->Wanted();
  *out = {path, name, file->IsMerge() ? "" : file->GetTitle(), file->IsRegister(),
          (file->GetTypeOpt() & TProofOutputFile::kOverwrite) != 0};
  return 1;
}

void dtpnode_output_file_place(TObject *object, const char *path, const char *name) {
  if (auto *file = dynamic_cast<TProofOutputFile *>(object)) file->Place(path, name);
}

TFileCollection *dtpnode_output_file_take_collection(TObject *object) {
  auto *file = dynamic_cast<TProofOutputFile *>(object);
  return file ? file->TakeFileCollection() : nullptr;
}
}
