#include "code.h"

#include "guard.h"

#include <TBase64.h>
#include <TBufferFile.h>
#include <TFunction.h>
#include <TInterpreter.h>
#include <TList.h>
#include <TMethodArg.h>
#include <TNamed.h>
#include <TObjString.h>
#include <TROOT.h>
#include <TSystem.h>
#include <cctype>
#include <cstdlib>
#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <fstream>
#include <link.h>
#include <memory>
#include <regex>
#include <set>
#include <sstream>
#include <unistd.h>

namespace dtpnode {

using nlohmann::json;

namespace {

std::string demangled(const std::string &symbol) {
  int status = 0;
  std::unique_ptr<char, void (*)(void *)> text(
      abi::__cxa_demangle(symbol.c_str(), nullptr, nullptr, &status), std::free);
  return status == 0 && text ? text.get() : symbol;
}

std::string baseName(const std::string &path) {
  return path.substr(path.rfind('/') + 1);
}

// Makes the loader's message one for the user: it names symbols as the linker does.
std::string loaderError(const std::string &path, const std::string &text) {
  static const std::regex lacks("undefined symbol: ([^ ,()]+)");
  std::smatch m;
  if (std::regex_search(text, m, lacks))
    return baseName(path) + " lacks the symbol " + demangled(m[1]) +
           ": name the library that has it with --lib, before this one, or its source with --source";
  static const std::regex absent("^([^:]+): cannot open shared object file: (.*)$");
  if (std::regex_search(text, m, absent) && baseName(m[1]) != baseName(path))
    return baseName(path) + " needs the library " + m[1].str() + ", which is not on this host: name it with --lib";
  return "could not load the library " + baseName(path) + ": " + text;
}

std::string slurp(const std::string &path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string quoted(const std::string &text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '\n') {
      out += "\\n";
      continue;
    }
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

// The object in an argument that a session has written whole; null if it is a text.
TObject *setupObject(const std::string &arg) {
  static const std::string mark = "dtpnode-object:";
  if (arg.compare(0, mark.size(), mark) != 0) return nullptr;
  TString bytes = TBase64::Decode(arg.c_str() + mark.size());
  TBufferFile buffer(TBuffer::kRead, bytes.Length(), const_cast<char *>(bytes.Data()), kFALSE);
  auto *o = bytes.Length() > 4 ? static_cast<TObject *>(buffer.ReadObject(TObject::Class())) : nullptr;
  if (!o) throw Failure("code", "could not read an object that SETUP() is to be given: its class is not known here");
  return o;
}

// What SETUP(TList *) is given: name=value as a TNamed, other texts as TObjString, and what a session has put into the
// list. The list stays, since a package may keep it.
TList *setupArguments(const std::vector<std::string> &args) {
  static const std::regex pair("^([A-Za-z_][A-Za-z_0-9.:-]*)=([^]*)$");
  auto *list = new TList;
  for (const std::string &arg : args) {
    std::smatch m;
    if (TObject *o = setupObject(arg))
      list->Add(o);
    else if (std::regex_match(arg, m, pair))
      list->Add(new TNamed(m[1].str().c_str(), m[2].str().c_str()));
    else
      list->Add(new TObjString(arg.c_str()));
  }
  return list;
}

// How SETUP is called, by what it takes.
std::string setupCall(TFunction &f, const std::string &name, const std::string &package,
                      const std::vector<std::string> &args) {
  if (f.GetNargs() == 0) return name + "()";
  auto *arg = static_cast<TMethodArg *>(f.GetListOfMethodArgs()->First());
  const std::string type = arg ? arg->GetTypeNormalizedName() : "";
  if (f.GetNargs() - f.GetNargsOpt() <= 1 && type.rfind("TList", 0) == 0) {
    std::stringstream at;
    at << name << "((TList *)" << static_cast<void *>(setupArguments(args)) << ")";
    return at.str();
  }
  if (f.GetNargs() - f.GetNargsOpt() <= 1 && type.rfind("const char", 0) == 0) {
    const std::unique_ptr<TObject> first(args.empty() ? nullptr : setupObject(args.front()));
    return name + "(" + (args.empty() ? "nullptr" : quoted(first ? first->GetName() : args.front())) + ")";
  }
  throw Failure("code", "SETUP() in PROOF-INF/SETUP.C of the package " + package + " takes " + type +
                            ": it can take nothing, a const char *, or a TList *");
}

// Runs SETUP() of PROOF-INF/SETUP.C in the package's folder. Each package's has a name of its own, since the
// interpreter knows one function of a name.
void runSetup(const std::string &package, const std::vector<std::string> &args) {
  static int count = 0;
  const std::string file = "PROOF-INF/SETUP.C";
  if (::access(file.c_str(), F_OK) != 0) return;
  const std::string name = "dtpnode_SETUP_" + std::to_string(++count);
  std::string text = slurp(file);
  static const std::regex setup("\\bSETUP\\s*\\(");
  if (!std::regex_search(text, setup))
    throw Failure("code", "PROOF-INF/SETUP.C of the package " + package + " has no function SETUP()");
  text = std::regex_replace(text, setup, name + "(");
  if (!gInterpreter->Declare(("#line 1 \"" + package + "/" + file + "\"\n" + text).c_str()))
    throw Failure("code", "ROOT cannot interpret PROOF-INF/SETUP.C of the package " + package);
  TFunction *f = gROOT->GetGlobalFunction(name.c_str(), nullptr, true);
  if (!f) throw Failure("code", "PROOF-INF/SETUP.C of the package " + package + " has no function SETUP()");
  const bool tells = std::string(f->GetReturnTypeName()) != "void";
  auto error = TInterpreter::kNoError;
  const std::string call = setupCall(*f, name, package, args);
  Long_t status = 0;
  if (tells)
    status = gInterpreter->Calc(call.c_str(), &error);
  else
    gInterpreter->ProcessLine((call + ";").c_str(), &error);
  if (error != TInterpreter::kNoError) throw Failure("code", "SETUP() of the package " + package + " could not be run");
  if (tells && static_cast<Int_t>(status) < 0)
    throw Failure("code", "SETUP() of the package " + package + " returned " +
                              std::to_string(static_cast<Int_t>(status)));
}

void includeFolder(const std::string &dir) {
  gInterpreter->AddIncludePath(dir.c_str());
  gSystem->AddIncludePath(("-I\"" + dir + "\"").c_str());
}

void enterFolder(const std::string &dir) {
  if (!gSystem->ChangeDirectory(dir.c_str())) throw Failure("disk", "could not enter the folder " + dir);
}

void loadPackage(const json &package) {
  const std::string dir = package.at("dir"), name = package.at("name");
  const std::string before = gSystem->WorkingDirectory();
  gSystem->AddDynamicPath(dir.c_str());
  enterFolder(dir);
  runSetup(name, package.value("args", std::vector<std::string>{}));
  enterFolder(before);
  includeFolder(dir);
  includeFolder(dir + "/..");
}

// The functions of a loaded library that are bound when they are first called: the others the loader has found, or it
// would not be loaded.
std::vector<std::string> lateSymbols(const std::string &path) {
  std::vector<std::string> out;
  std::unique_ptr<void, int (*)(void *)> handle(::dlopen(path.c_str(), RTLD_LAZY | RTLD_NOLOAD), ::dlclose);
  link_map *map = nullptr;
  if (!handle) {
    handle.release();
    return out;
  }
  if (::dlinfo(handle.get(), RTLD_DI_LINKMAP, &map) != 0) return out;
  const ElfW(Sym) *symbols = nullptr;
  const char *names = nullptr;
  ElfW(Addr) calls = 0;
  size_t bytes = 0;
  bool addends = true;
  for (const ElfW(Dyn) *d = map->l_ld; d->d_tag != DT_NULL; ++d) switch (d->d_tag) {
    case DT_SYMTAB: symbols = reinterpret_cast<const ElfW(Sym) *>(d->d_un.d_ptr); break;
    case DT_STRTAB: names = reinterpret_cast<const char *>(d->d_un.d_ptr); break;
    case DT_JMPREL: calls = d->d_un.d_ptr; break;
    case DT_PLTRELSZ: bytes = d->d_un.d_val; break;
    case DT_PLTREL: addends = d->d_un.d_val == DT_RELA; break;
    default: break;
    }
  if (!symbols || !names || !calls) return out;
  const size_t size = addends ? sizeof(ElfW(Rela)) : sizeof(ElfW(Rel));
  for (size_t at = 0; at + size <= bytes; at += size) {
    const auto info = reinterpret_cast<const ElfW(Rel) *>(calls + at)->r_info; // the same place in both kinds
#if __ELF_NATIVE_CLASS == 64
    const ElfW(Sym) &s = symbols[ELF64_R_SYM(info)];
#else
    const ElfW(Sym) &s = symbols[ELF32_R_SYM(info)];
#endif
    if (s.st_shndx == SHN_UNDEF && ELF64_ST_BIND(s.st_info) != STB_WEAK) out.push_back(names + s.st_name);
  }
  return out;
}

std::vector<std::string> undefinedIn(const std::string &path) {
  std::vector<std::string> out;
  for (const std::string &symbol : lateSymbols(path))
    if (!::dlsym(RTLD_DEFAULT, symbol.c_str())) out.push_back(symbol);
  return out;
}

// ROOT finds the library of a class of its own when the class is first used; here it is asked for those that are
// called.
void autoload(const std::vector<std::string> &symbols) {
  for (const std::string &symbol : symbols) {
    const std::string text = demangled(symbol);
    const std::string function = text.substr(0, text.find('('));
    const size_t colons = function.rfind("::");
    if (colons != std::string::npos && colons > 0) gInterpreter->AutoLoad(function.substr(0, colons).c_str());
  }
}

} // namespace

void loadLibrary(const std::string &path) {
  if (gSystem->Load(path.c_str()) >= 0) return;
  ::dlerror();
  if (::dlopen(path.c_str(), RTLD_LAZY | RTLD_GLOBAL)) return; // it is only ROOT that minds
  const char *why = ::dlerror();
  throw Failure("code", loaderError(path, why ? why : "no reason is told"));
}

std::vector<std::string> librariesOf(const json &code) {
  auto out = code.value("libs", std::vector<std::string>{});
  for (const std::string &so : code.value("parts", std::vector<std::string>{}))
    out.push_back(so);
  return out;
}

void loadCode(const json &code) {
  for (const std::string &dir : code.value("includes", std::vector<std::string>{}))
    includeFolder(dir);
  for (const json &package : code.value("packages", json::array()))
    loadPackage(package);
  std::set<std::string> folders;
  for (const std::string &so : librariesOf(code)) {
    const std::string dir = so.substr(0, so.rfind('/'));
    if (folders.insert(dir).second) gSystem->AddDynamicPath(dir.c_str());
    loadLibrary(so);
  }
}

void requireSymbols(const std::vector<std::string> &libraries) {
  for (const std::string &so : libraries) {
    std::vector<std::string> missing = undefinedIn(so);
    if (missing.empty()) continue;
    autoload(missing);
    missing = undefinedIn(so);
    if (missing.empty()) continue;
    std::set<std::string> names;
    for (const std::string &symbol : missing)
      names.insert(demangled(symbol));
    constexpr size_t most = 5;
    std::string text;
    size_t told = 0;
    for (const std::string &name : names) {
      if (told++ == most) break;
      text += (text.empty() ? "" : "; ") + name;
    }
    if (names.size() > most) text += "; and " + std::to_string(names.size() - most) + " others";
    throw Failure("code", baseName(so) + " lacks " + (names.size() == 1 ? "the symbol " : "the symbols ") + text +
                              ": name the library that has " + (names.size() == 1 ? "it" : "them") +
                              " with --lib, or the source with --source");
  }
}

} // namespace dtpnode
