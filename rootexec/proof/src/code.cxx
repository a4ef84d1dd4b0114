// Packages, macros and paths of a session.
#include "code.h"

#include "TBase64.h"
#include "TBufferFile.h"
#include "TError.h"
#include "TFunction.h"
#include "TInterpreter.h"
#include "TList.h"
#include "TMethodArg.h"
#include "TObjString.h"
#include "TProof.h"
#include "TROOT.h"
#include "TSystem.h"
#include "packages.h"
#include "session.h"

#include <algorithm>
#include <fstream>
#include <memory>
#include <regex>
#include <sstream>

namespace {

/// Changes the working folder as long as it lives.
class In {
 public:
  explicit In(const std::string &dir) : before_(gSystem->WorkingDirectory()), in_(gSystem->ChangeDirectory(dir.c_str())) {}
  ~In() { gSystem->ChangeDirectory(before_.c_str()); }
  explicit operator bool() const { return in_; }

 private:
  std::string before_;
  bool in_;
};

std::string nameOf(const char *par) {
  TString name(gSystem->BaseName(par));
  if (name.EndsWith(".par")) name.Remove(name.Length() - 4);
  return name.Data();
}

std::string absolute(const char *path) {
  TString full(path);
  gSystem->ExpandPathName(full);
  if (!gSystem->IsAbsoluteFileName(full)) full = TString(gSystem->WorkingDirectory()) + "/" + full;
  return full.Data();
}

/// Calls SETUP() of a package in this process. Functions of that name of several packages must not meet.
bool setUp(TList *list, const char *text) {
  static int count = 0;
  std::ifstream in("PROOF-INF/SETUP.C");
  if (!in) return true;
  std::ostringstream all;
  all << in.rdbuf();
  const std::string name = "dtpnode_session_SETUP_" + std::to_string(++count);
  const std::string source = std::regex_replace(all.str(), std::regex("\\bSETUP\\s*\\("), name + "(");
  if (!gInterpreter->Declare(source.c_str())) return false;
  auto *f = static_cast<TFunction *>(gROOT->GetListOfGlobalFunctions(kTRUE)->FindObject(name.c_str()));
  std::string call = name + "()";
  auto *first = f ? static_cast<TMethodArg *>(f->GetListOfMethodArgs()->First()) : nullptr;
  if (first && list && TString(first->GetFullTypeName()).Contains("TList"))
    call = name + "(reinterpret_cast<TList *>(" + std::to_string(reinterpret_cast<uintptr_t>(list)) + "))";
  else if (first && text)
    call = name + "(\"" + std::regex_replace(std::string(text), std::regex("([\"\\\\])"), "\\$1") + "\")";
  Int_t error = 0;
  const Longptr_t status = gROOT->ProcessLine(call.c_str(), &error);
  return error == 0 && static_cast<Int_t>(status) >= 0;
}

/// Builds a package here and sets it up in this process.
bool enableHere(const std::string &name, const std::string &par, std::vector<std::string> &folders, TList *list,
                const char *text) {
  gSystem->Setenv("ROOTPROOFCLIENT", "1");
  std::vector<std::string> before; // those that were there when it was first enabled
  for (const std::string &f : folders) {
    if (gSystem->BaseName(f.c_str()) == name) break;
    before.push_back(f);
  }
  const std::string dir = dtpnode::buildPackage(name, par, before);
  const In in(dir);
  if (dir.empty() || !in) return false;
  if (std::find(folders.begin(), folders.end(), dir) == folders.end()) {
    folders.push_back(dir);
    gSystem->AddDynamicPath(dir.c_str());
    gSystem->AddIncludePath(("-I" + dir).c_str());
    gInterpreter->AddIncludePath(dir.c_str());
  }
  return setUp(list, text);
}

/// An argument of SETUP() as a text of the command: plain text is a TObjString there, and any other object is written
/// whole, so that the list on the nodes has what the list here has.
std::string argumentOf(const TObject &o) {
  const std::string text = o.GetName();
  if (o.IsA() == TObjString::Class() && text.find('=') == std::string::npos) return text;
  TBufferFile buffer(TBuffer::kWrite);
  buffer.WriteObject(&o);
  return std::string("dtpnode-object:") + TBase64::Encode(buffer.Buffer(), buffer.Length()).Data();
}

void removeFrom(std::vector<std::string> &list, const std::string &what) {
  list.erase(std::remove(list.begin(), list.end(), what), list.end());
}

} // namespace

namespace dtpnode {

std::vector<std::string> Code::arguments(const std::string &selector) const {
  std::vector<std::string> out;
  const auto add = [&out](const char *flag, const std::vector<std::string> &values) {
    for (const std::string &v : values)
      out.insert(out.end(), {flag, v});
  };
  std::vector<std::string> others = sources; // a selector may have been loaded before
  removeFrom(others, selector);
  add("--source", others);
  add("--include", headers);
  add("--include-dir", includeDirs);
  others = libraries;
  removeFrom(others, selector);
  add("--lib", others);
  for (const std::string &name : order) {
    const Package &p = packages.at(name);
    if (p.args.empty()) out.insert(out.end(), {"--package", p.file});
    for (const std::string &a : p.args)
      out.insert(out.end(), {"--package", p.file + ":" + a});
  }
  return out;
}

} // namespace dtpnode

Int_t TProof::UploadPackage(const char *par, EUploadPackageOpt, TList *) {
  if (TooLate("UploadPackage", "--package NAME.par")) return -1;
  std::string file = absolute(par);
  if (gSystem->AccessPathName(file.c_str(), kReadPermission) && !TString(par).EndsWith(".par")) file += ".par";
  if (gSystem->AccessPathName(file.c_str(), kReadPermission)) {
    Error("UploadPackage", "could not find the package %s", par);
    return -1;
  }
  fCode->packages[nameOf(par)].file = file;
  return 0;
}

Int_t TProof::EnablePackage(const char *package, Bool_t notOnClient, TList *workers) {
  return EnablePackage(package, static_cast<TList *>(nullptr), notOnClient, workers);
}

Int_t TProof::EnablePackage(const char *package, const char *text, Bool_t notOnClient, TList *) {
  TList list;
  list.SetOwner();
  if (text && *text) list.Add(new TObjString(text));
  return EnablePackage(package, text && *text ? &list : nullptr, notOnClient, nullptr);
}

Int_t TProof::EnablePackage(const char *package, TList *options, Bool_t notOnClient, TList *) {
  if (TooLate("EnablePackage", "--package NAME.par")) return -1;
  const std::string name = nameOf(package);
  if (!fCode->packages.count(name) && UploadPackage(package) != 0) return -1;
  if (!fSession) return -1;
  dtpnode::Code::Package &p = fCode->packages[name];
  p.args.clear();
  TIter next(options);
  while (TObject *o = next())
    p.args.push_back(argumentOf(*o));
  const char *text = options && options->First() ? options->First()->GetName() : nullptr;
  if (!notOnClient && !enableHere(name, p.file, fCode->folders, options, text)) {
    Error("EnablePackage", "could not build or set up the package %s: see the messages above", name.c_str());
    return -1;
  }
  if (!p.enabled) fCode->order.push_back(name);
  p.enabled = true;
  return 0;
}

Int_t TProof::ClearPackage(const char *package) {
  const std::string name = nameOf(package);
  removeFrom(fCode->order, name);
  return fCode->packages.erase(name) > 0 ? 0 : -1;
}

Int_t TProof::ClearPackages() {
  fCode->order.clear();
  fCode->packages.clear();
  return 0;
}

Int_t TProof::DownloadPackage(const char *package, const char *dir) {
  const auto it = fCode->packages.find(nameOf(package));
  if (it == fCode->packages.end()) return -1;
  return gSystem->CopyFile(it->second.file.c_str(), (std::string(dir && *dir ? dir : ".") + "/" + it->first + ".par").c_str(),
                           kTRUE);
}

namespace {

TList *named(const std::vector<std::string> &names) {
  auto *list = new TList;
  list->SetOwner();
  for (const std::string &n : names)
    list->Add(new TObjString(n.c_str()));
  return list;
}

} // namespace

TList *TProof::GetListOfPackages() {
  std::vector<std::string> names;
  for (const auto &[name, package] : fCode->packages)
    names.push_back(name);
  return named(names);
}

TList *TProof::GetListOfEnabledPackages() { return named(fCode->order); }

void TProof::ShowPackages(Bool_t, Bool_t) {
  for (const auto &[name, package] : fCode->packages)
    Printf("%-20s %s%s", name.c_str(), package.file.c_str(), package.enabled ? " (enabled)" : "");
}

void TProof::ShowEnabledPackages(Bool_t) {
  for (const std::string &name : fCode->order)
    Printf("%s", name.c_str());
}

Int_t TProof::Load(const char *macro, Bool_t notOnClient, Bool_t, TList *) {
  if (TooLate("Load", "--source FILE or --lib FILE")) return -1;
  TString part;
  Int_t status = -1;
  for (Ssiz_t from = 0; TString(macro).Tokenize(part, from, ",");) {
    TString file = part.Strip(TString::kBoth), plain = file;
    if (const Ssiz_t plus = plain.First('+'); plus != kNPOS) plain.Remove(plus);
    gSystem->ExpandPathName(plain);
    std::unique_ptr<char[]> there(gSystem->Which(TROOT::GetMacroPath(), plain, kReadPermission));
    if (!there) {
      Error("Load", "could not find %s", plain.Data());
      return -1;
    }
    const std::string path = absolute(there.get());
    const bool header = plain.EndsWith(".h") || plain.EndsWith(".hh") || plain.EndsWith(".hpp") || plain.EndsWith(".hxx");
    const bool library = plain.EndsWith(".so");
    auto &list = header ? fCode->headers : library ? fCode->libraries : fCode->sources;
    removeFrom(list, path);
    list.push_back(path);
    status = 0;
    if (!header && !notOnClient) {
      gSystem->ExpandPathName(file);
      status = library ? gSystem->Load(path.c_str()) : gROOT->LoadMacro(file);
      if (status < 0) {
        Error("Load", "could not load %s here", path.c_str());
        return -1;
      }
      status = 0;
    }
    if (!fMacros->FindObject(plain)) fMacros->Add(new TObjString(plain));
  }
  return status;
}

Int_t TProof::AddIncludePath(const char *paths, Bool_t onClient, TList *, Bool_t) {
  if (TooLate("AddIncludePath", "-I FOLDER")) return -1;
  TString part;
  for (Ssiz_t from = 0; TString(paths).Tokenize(part, from, "[:, ]");) {
    if (part.BeginsWith("-I")) part.Remove(0, 2);
    const std::string dir = absolute(part);
    removeFrom(fCode->includeDirs, dir);
    fCode->includeDirs.push_back(dir);
    if (onClient) gSystem->AddIncludePath(("-I" + dir).c_str());
  }
  return 0;
}

Int_t TProof::RemoveIncludePath(const char *paths, Bool_t) {
  TString part;
  for (Ssiz_t from = 0; TString(paths).Tokenize(part, from, "[:, ]");)
    removeFrom(fCode->includeDirs, absolute(part));
  return 0;
}

Int_t TProof::AddDynamicPath(const char *paths, Bool_t onClient, TList *, Bool_t) {
  if (onClient) gSystem->AddDynamicPath(paths);
  Warning("AddDynamicPath", "nodes do not look into %s: name the libraries by TProof::Load(\"libX.so\"), and they travel "
                            "to where they are needed", paths);
  return 0;
}

Int_t TProof::RemoveDynamicPath(const char *, Bool_t) { return 0; }

Int_t TProof::Exec(const char *cmd, Bool_t) {
  const TString line(cmd);
  Int_t error = 0;
  gROOT->ProcessLine(cmd, &error);
  if (error != 0) return -1;
  if (fOfJob) { // the processes of the job find it in their input
    auto *lines = dynamic_cast<TList *>(fInput->FindObject("PROOF_SessionExec"));
    if (!lines) {
      lines = new TList;
      lines->SetName("PROOF_SessionExec");
      fInput->Add(lines);
    }
    lines->Add(new TObjString(cmd));
  }
  fCode->lines.emplace_back(cmd);
  return 0;
}

Int_t TProof::Exec(const char *cmd, ESlaves, Bool_t plusMaster) { return Exec(cmd, plusMaster); }

Int_t TProof::Exec(const char *cmd, const char *, Bool_t) { return Exec(cmd); }

Int_t TProof::Echo(const TObject *obj) {
  if (obj) obj->Print();
  return 0;
}

Int_t TProof::Echo(const char *text) {
  Printf("%s", text);
  return 0;
}

void TProof::ShowCache(Bool_t) {
  Printf("Compiled code is kept in dtpnode's cache folder, by its content");
}

void TProof::ClearCache(const char *) {} // what is compiled is found by its content alone
