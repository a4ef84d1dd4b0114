// Packages as this process builds them for itself: in dtpnode's cache, once for each content, ROOT and library. They
// stay there after the session, since what ACLiC compiles names the libraries that are loaded by their paths, and is
// loaded again in the next session.
#include "packages.h"

#include "TError.h"
#include "TMD5.h"
#include "TROOT.h"
#include "TString.h"
#include "TSystem.h"

#include <cerrno>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fs = std::filesystem;

namespace {

/// Changes the working folder as long as it lives.
class Within {
 public:
  explicit Within(const std::string &dir)
      : before_(gSystem->WorkingDirectory()), in_(gSystem->ChangeDirectory(dir.c_str())) {}
  ~Within() { gSystem->ChangeDirectory(before_.c_str()); }
  Within(const Within &) = delete;
  Within &operator=(const Within &) = delete;
  explicit operator bool() const { return in_; }

 private:
  std::string before_;
  bool in_;
};

/// Holds a file's lock as long as it lives. Other sessions of the user may build the same package.
class Lock {
 public:
  explicit Lock(const fs::path &file) : fd_(::open(file.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600)) {
    while (fd_ >= 0 && ::flock(fd_, LOCK_EX) != 0 && errno == EINTR) {
    }
  }
  ~Lock() {
    if (fd_ >= 0) ::close(fd_);
  }
  Lock(const Lock &) = delete;
  Lock &operator=(const Lock &) = delete;

 private:
  int fd_;
};

/// The folder of this library, CACHE/proof/KEY/lib.
fs::path libraryDir() {
  Dl_info info;
  if (::dladdr(reinterpret_cast<void *>(&libraryDir), &info) == 0 || !info.dli_fname) return {};
  std::error_code failed;
  const fs::path file = fs::canonical(info.dli_fname, failed);
  return failed ? fs::path() : file.parent_path();
}

std::string sum(const std::string &text) {
  TMD5 md5;
  md5.Update(reinterpret_cast<const UChar_t *>(text.data()), static_cast<UInt_t>(text.size()));
  md5.Final();
  return md5.AsString();
}

/// Runs BUILD.sh in the working folder. As with PROOF, ROOTINCLUDEPATH holds the folders of headers.
bool runBuild() {
  if (gSystem->AccessPathName("PROOF-INF/BUILD.sh")) return true;
  gSystem->Setenv("ROOTINCLUDEPATH", gSystem->GetIncludePath());
  // Packages ask root-config for the headers, which does not know where they are in a ROOT that was moved.
  const TString headers = TROOT::GetIncludeDir(), given = gSystem->Getenv("CPATH");
  if (!given.Contains(headers)) gSystem->Setenv("CPATH", given.IsNull() ? headers : headers + ":" + given);
  // A script may name another shell than sh.
  std::ifstream script("PROOF-INF/BUILD.sh");
  char start[2] = {};
  script.read(start, 2);
  if (start[0] == '#' && start[1] == '!' && ::chmod("PROOF-INF/BUILD.sh", 0700) == 0)
    return gSystem->Exec("./PROOF-INF/BUILD.sh") == 0;
  return gSystem->Exec("sh PROOF-INF/BUILD.sh") == 0;
}

bool unpackAndBuild(const std::string &name, const std::string &par, const fs::path &folder) {
  std::error_code failed;
  fs::remove_all(folder, failed);
  if (fs::create_directories(folder, failed); failed) {
    ::Error("TProof::EnablePackage", "could not make %s: %s", folder.c_str(), failed.message().c_str());
    return false;
  }
  if (gSystem->Exec(("tar -xzf '" + par + "' -C '" + folder.string() + "'").c_str()) != 0) return false;
  const Within in(folder / name);
  if (!in) {
    ::Error("TProof::EnablePackage", "%s holds no folder %s/, as `tar czf %s.par %s` makes it", par.c_str(),
            name.c_str(), name.c_str(), name.c_str());
    return false;
  }
  return runBuild();
}

} // namespace

std::string dtpnode::buildPackage(const std::string &name, const std::string &par,
                                  const std::vector<std::string> &before) {
  std::unique_ptr<TMD5> content(TMD5::FileChecksum(par.c_str()));
  const fs::path lib = libraryDir();
  if (!content || lib.empty()) {
    ::Error("TProof::EnablePackage", "could not read %s: %s", par.c_str(), std::strerror(errno));
    return "";
  }
  // The name of the library's folder stands for ROOT, the compiler and the platform.
  std::string key = name + "\n" + content->AsString() + "\n" + lib.parent_path().filename().string();
  for (const std::string &dir : before)
    key += "\n" + dir;
  // Beside those that the host's nodes build, so that `dtpnode package` lists and clears them.
  const fs::path folder = lib.parent_path().parent_path().parent_path() / "packages" / ("session-" + sum(key));
  std::error_code ignored;
  fs::create_directories(folder.parent_path(), ignored);
  const Lock lock(folder.string() + ".lock");
  if (!fs::exists(folder / "built", ignored)) {
    if (!unpackAndBuild(name, par, folder)) return "";
    std::ofstream(folder / "built") << name;
  }
  return folder / name;
}
