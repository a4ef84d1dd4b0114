#include "session.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace dtpnode {

using nlohmann::json;

/// The sessions that are open, for the end of the process, which may come without their destructors.
static std::vector<Session *> &sessions() {
  static auto *all = new std::vector<Session *>;
  return *all;
}

/// Who runs the commands of jobs in place of this library; null for nobody.
static int (*runner)(const char *args, size_t size) = nullptr;
/// What takes the lines of the command that the runner runs now.
static const std::function<void(const std::string &)> *told = nullptr;

/// Has a program that loads this library run the commands of jobs itself, as Python does, so that its threads go on
/// meanwhile and its own way with interrupts is kept. args are size bytes, the command and its arguments, each with a
/// null byte behind it; the answer is the exit status, of which 128 and the signal's number stand for an end by a
/// signal. Null takes it back.
extern "C" void dtpnodeSessionRunner(int (*run)(const char *args, size_t size)) { runner = run; }

/// Takes a line that the command has printed, JSON or not, from the runner as long as it runs.
extern "C" void dtpnodeSessionTell(const char *line) {
  if (told) (*told)(line);
}

static void closeAll() {
  for (Session *s : sessions())
    s->close();
}

namespace {

/// A command that runs with its standard output in a pipe.
class Child {
 public:
  /// err is the file that standard error goes to, none to leave it as it is.
  Child(const std::string &command, const std::vector<std::string> &args, const std::string &err) {
    int out[2];
    if (::pipe2(out, O_CLOEXEC) != 0) return;
    std::vector<char *> argv{const_cast<char *>(command.c_str())};
    for (const std::string &a : args)
      argv.push_back(const_cast<char *>(a.c_str()));
    argv.push_back(nullptr);
    std::fflush(nullptr);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(out[1], STDOUT_FILENO);
      if (const int fd = err.empty() ? -1 : ::open(err.c_str(), O_CREAT | O_WRONLY | O_APPEND, 0600); fd >= 0)
        ::dup2(fd, STDERR_FILENO);
      ::execvp(argv[0], argv.data());
      ::_exit(127);
    }
    ::close(out[1]);
    out_ = out[0];
  }
  ~Child() {
    if (out_ >= 0) ::close(out_);
  }
  Child(const Child &) = delete;
  Child &operator=(const Child &) = delete;

  /// The next line of its output; false at the end.
  bool line(std::string &text) {
    for (;;) {
      if (const size_t end = buffer_.find('\n'); end != std::string::npos) {
        text = buffer_.substr(0, end);
        buffer_.erase(0, end + 1);
        return true;
      }
      char more[1 << 16];
      const ssize_t n = out_ < 0 ? 0 : ::read(out_, more, sizeof more);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) break;
      buffer_.append(more, static_cast<size_t>(n));
    }
    text.swap(buffer_);
    buffer_.clear();
    return !text.empty();
  }

  /// Waits for its end and returns the exit status.
  int wait() const {
    int status = 0;
    if (pid_ < 0) return 127;
    while (::waitpid(pid_, &status, 0) < 0)
      if (errno != EINTR) return 127;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
  int out_ = -1;
  std::string buffer_;
};

std::string readAll(const std::string &path) {
  std::ifstream in(path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

JobStatus statusOf(const json &s) {
  JobStatus out;
  out.id = s.value("id", "");
  out.state = s.value("state", "");
  out.error = s.value("error", "");
  out.hint = s.value("hint", "");
  out.output = s.value("output", "");
  out.units = s.value("units", Long64_t{0});
  out.done = s.value("done", Long64_t{0});
  out.bytes = s.value("bytes", Long64_t{0});
  out.seconds = s.value("working_seconds", 0.0);
  if (const auto notes = s.find("notes"); notes != s.end() && notes->is_array())
    for (const auto &n : *notes)
      if (n.is_string()) out.notes.push_back(n);
  if (const auto files = s.find("output_files"); files != s.end() && files->is_array())
    for (const auto &f : *files)
      if (f.contains("note")) out.fileNotes.push_back(f.value("name", "") + ": " + f.value("note", ""));
  if (const auto nodes = s.find("nodes"); nodes != s.end() && nodes->is_array())
    for (const auto &n : *nodes) {
      out.slots += n.value("slots", 0);
      out.nodes.push_back({n.value("name", ""), n.value("units", Long64_t{0}), n.value("packets", Long64_t{0})});
    }
  return out;
}

} // namespace

Session::Session() {
  if (sessions().empty()) std::atexit(closeAll);
  sessions().push_back(this);
  const char *named = std::getenv("DTPNODE_EXE");
  command_ = named && *named ? named : "dtpnode";
}

const std::string &Session::folder() const {
  char dir[] = "/tmp/dtpnode-session-XXXXXX";
  if (folder_.empty() && ::mkdtemp(dir)) folder_ = dir;
  return folder_;
}

Session::Session(int workers, const std::string &state) : Session() {
  state_ = state;
  if (folder().empty()) {
    error_ = std::string("could not make a folder for the session: ") + std::strerror(errno);
    return;
  }
  const Ended version = call({"version"}, true);
  if (version.status == 127) {
    error_ = "could not find the command dtpnode: put its folder on the PATH, or start ROOT by `dtpnode root`";
    return;
  }
  if (!running()) start(workers);
}

Session::~Session() {
  close();
  std::vector<Session *> &all = sessions();
  all.erase(std::remove(all.begin(), all.end(), this), all.end());
}

void Session::close() {
  if (node_ > 0) {
    ::kill(node_, SIGTERM);
    while (::waitpid(node_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  node_ = 0;
  if (folder_.empty()) return;
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
  folder_.clear();
}

std::vector<std::string> Session::toNode(const std::vector<std::string> &args) const {
  std::vector<std::string> all = args;
  if (!state_.empty()) all.insert(all.begin(), {"--state", state_});
  return all;
}

Ended Session::call(const std::vector<std::string> &args, bool quiet) const {
  Ended end;
  const std::string errors = folder() + "/stderr";
  ::unlink(errors.c_str());
  Child child(command_, toNode(args), errors);
  for (std::string text; child.line(text);)
    end.out += text + "\n";
  end.status = child.wait();
  end.err = readAll(errors);
  if (!quiet && !end.err.empty()) std::fputs(end.err.c_str(), stderr);
  return end;
}

JobStatus Session::follow(const std::vector<std::string> &args, const std::function<void(const JobStatus &)> &report,
                          const std::function<void(const std::string &)> &printed, int &status) const {
  JobStatus last;
  std::vector<std::string> all = args;
  all.insert(all.begin() + 1, {"--output", "json"}); // behind -- it would be no flag
  all = toNode(all);
  const auto take = [&](const std::string &text) {
    const json frame = json::parse(text, nullptr, false);
    if (!frame.is_object()) {
      printed(text);
      return;
    }
    if (const auto s = frame.find("status"); s != frame.end() && s->is_object()) {
      last = statusOf(*s);
      report(last);
    } else if (frame.contains("state") && frame.contains("id")) {
      last = statusOf(frame);
      report(last);
    } else if (frame.value("type", "") == "log") {
      printed(frame.value("line", ""));
    } else if (frame.contains("error")) {
      last.error = frame.value("error", "");
      last.hint = frame.value("hint", "");
    }
  };
  if (runner) {
    std::string words = command_ + '\0';
    for (const std::string &word : all)
      words += word + '\0';
    const std::function<void(const std::string &)> lines = take;
    told = &lines;
    status = runner(words.data(), words.size());
    told = nullptr;
    return last;
  }
  const std::string errors = folder() + "/stderr";
  ::unlink(errors.c_str());
  Child child(command_, all, errors);
  for (std::string text; child.line(text);)
    take(text);
  status = child.wait();
  std::istringstream said(readAll(errors));
  for (std::string text; std::getline(said, text);) {
    const json frame = json::parse(text, nullptr, false);
    if (frame.is_object() && frame.contains("error")) {
      last.error = frame.value("error", "");
      last.hint = frame.value("hint", "");
    } else {
      printed(text);
    }
  }
  return last;
}

std::vector<Member> Session::members() const {
  std::vector<Member> out;
  const json all = json::parse(call({"members", "--output", "json"}, true).out, nullptr, false);
  if (!all.is_array()) return out;
  for (const auto &m : all)
    out.push_back({m.value("name", ""), m.value("slots", 0), m.value("up", false), m.value("self", false)});
  return out;
}

std::string Session::temporary(const std::string &suffix) {
  return folder() + "/" + std::to_string(++files_) + suffix;
}

bool Session::running() const { return call({"status", "--output", "json"}, true).status == 0; }

// Starts a node with the settings of this host, which ends with this process, whatever ends that. A node of an earlier
// session may still be about to end.
bool Session::start(int workers) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  do {
    spawn(workers);
    while (node_ > 0 && !running()) {
      if (::waitpid(node_, nullptr, WNOHANG) == node_) node_ = 0;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    if (node_ > 0 || running()) return true; // also if another session was faster
  } while (std::chrono::steady_clock::now() < until);
  error_ = "could not start a node on this host: " + readAll(folder_ + "/node.log");
  return false;
}

void Session::spawn(int workers) {
  const std::string log = folder_ + "/node.log";
  std::vector<std::string> args = toNode({"up"});
  args.insert(args.begin(), command_);
  if (workers > 0) args.insert(args.end(), {"--slots", std::to_string(workers)});
  std::vector<char *> argv;
  for (std::string &a : args)
    argv.push_back(a.data());
  argv.push_back(nullptr);
  const pid_t parent = ::getpid();
  std::fflush(nullptr);
  node_ = ::fork();
  if (node_ != 0) return;
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(1);
  ::setpgid(0, 0); // Ctrl-C is for the query, not for the node
  const int fd = ::open(log.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600);
  ::dup2(fd, STDOUT_FILENO);
  ::dup2(fd, STDERR_FILENO);
  ::execvp(argv[0], argv.data());
  ::_exit(127);
}

} // namespace dtpnode
