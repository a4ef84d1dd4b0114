#include "world.h"

#include <TDirectory.h>
#include <TError.h>
#include <TH1.h>
#include <TROOT.h>
#include <TSeqCollection.h>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <sys/stat.h>
#include <unistd.h>

namespace dtpnode {

namespace {

std::string plainName(const std::string &name) {
  std::string out;
  for (const char c : name) {
    const bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    out += letter || (c >= '0' && c <= '9') || (c && std::strchr("._-", c)) ? c : '_';
  }
  while (!out.empty() && out[0] == '.')
    out.erase(0, 1); // no hidden file, nor the folder above
  return out.empty() ? "canvas" : out.substr(0, 200);
}

/// A folder beside the files to come: a picture appears whole or not at all. Macros are named after their file, so the
/// folder is another and not the name.
struct CanvasFolder {
  std::string path = ".dtpnode-canvas-" + std::to_string(::getpid());
  bool made = ::mkdir(path.c_str(), 0700) == 0;
  ~CanvasFolder() {
    if (made) ::rmdir(path.c_str());
  }
};

/// Whether a file that is there is one of these.
bool isOneOf(const std::string &path, const std::vector<std::string> &files) {
  struct stat st{};
  if (::stat(path.c_str(), &st) != 0) return false;
  for (const std::string &file : files) {
    struct stat other{};
    if (::stat(file.c_str(), &other) == 0 && other.st_dev == st.st_dev && other.st_ino == st.st_ino) return true;
  }
  return false;
}

/// Why nothing came of a picture. ROOT tells no cause, and most often there is no room for it.
std::string whyEmpty(const std::string &path) {
  const std::string some(1 << 16, 'x');
  FILE *f = std::fopen(path.c_str(), "wb");
  bool ok = f && std::fwrite(some.data(), 1, some.size(), f) == some.size();
  if (f && std::fclose(f) != 0) ok = false;
  if (ok) return "ROOT wrote nothing";
  char folder[4096];
  const std::string why = std::strerror(errno);
  return "ROOT wrote nothing into " + std::string(::getcwd(folder, sizeof folder) ? folder : "the working folder") +
         ": " + why;
}

bool isFilled(const std::string &path) {
  struct stat st{};
  return ::stat(path.c_str(), &st) == 0 && st.st_size > 0;
}

/// Quiet is ROOT less its notes that a file was made.
struct Quiet {
  const Int_t before = gErrorIgnoreLevel;
  Quiet() { gErrorIgnoreLevel = std::max(before, static_cast<Int_t>(kWarning)); }
  ~Quiet() { gErrorIgnoreLevel = before; }
};

} // namespace

void enterUserWorld() {
  gROOT->cd();
  TH1::AddDirectory(true);
}

std::vector<std::string> saveCanvases(const std::vector<std::string> &formats, const std::vector<std::string> &spared,
                                      std::vector<std::string> &failed) {
  std::vector<std::string> saved;
  std::vector<TObject *> canvases;
  TIter next(gROOT->GetListOfCanvases());
  while (TObject *c = next())
    canvases.push_back(c);
  if (canvases.empty() || formats.empty()) return saved;
  const CanvasFolder folder;
  if (!folder.made) {
    failed.push_back("all canvases: could not make a folder for them: " + std::string(std::strerror(errno)));
    return saved;
  }
  const Quiet quiet;
  std::set<std::string> taken;
  for (TObject *canvas : canvases) {
    const std::string plain = plainName(canvas->GetName());
    std::string base = plain;
    for (int n = 2; !taken.insert(base).second; ++n)
      base = plain + "_" + std::to_string(n);
    for (const std::string &format : formats) {
      std::string file = base + "." + format;
      for (int n = 1; isOneOf(file, spared); ++n) // a canvas may be called as the selector's source or a file is
        file = base + "-canvas" + (n > 1 ? "-" + std::to_string(n) : "") + "." + format;
      const std::string made = folder.path + "/" + file;
      canvas->SaveAs(made.c_str());
      if (!isFilled(made))
        failed.push_back(file + ": " + whyEmpty(made));
      else if (::rename(made.c_str(), file.c_str()) != 0)
        failed.push_back(file + ": " + std::strerror(errno));
      else
        saved.push_back(file);
      ::unlink(made.c_str());
    }
  }
  return saved;
}

} // namespace dtpnode
