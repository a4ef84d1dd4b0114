#include "zygote.h"


#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

namespace dtpnode {

using nlohmann::json;

namespace {

SharedPage *mapPage(int fd) {
  void *p = ::mmap(nullptr, kStackOffset, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  return p == MAP_FAILED ? nullptr : static_cast<SharedPage *>(p);
}

sigset_t childSignal() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  return set;
}

} // namespace

Zygote::Zygote(Channel &control, Roles roles) : control_(control), roles_(std::move(roles)) {
  sigset_t set = childSignal();
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  signals_ = Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  // What a killed child leaves behind comes to us, not to a process that may not reap.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
}

void Zygote::processRequests() {
  for (;;) {
    pollfd fds[] = {{control_.fd(), POLLIN, 0}, {signals_.get(), POLLIN, 0}};
    if (::poll(fds, 2, -1) < 0 && errno != EINTR) break;
    if (fds[1].revents) onChildren();
    if (fds[0].revents && !onFrame()) break;
  }
  leave();
}

bool Zygote::onFrame() {
  json request;
  if (!control_.read(request)) return false;
  const std::string op = request["op"];
  try {
    if (op == "fork")
      fork(request);
    else if (op == "signal")
      signal(request);
    else
      return control_.write({{"op", "error"},
                             {"id", request.value("id", uint64_t{0})},
                             {"msg", "unknown request " + op}});
  } catch (const std::exception &e) {
    return control_.write(
        {{"op", "error"}, {"id", request.value("id", uint64_t{0})}, {"msg", e.what()}});
  }
  return true;
}

void Zygote::fork(const json &request) {
  const std::string role = request.at("role");
  const uint64_t id = request.at("id");
  Channel channel(control_.takeFd());
  Fd log = control_.takeFd(), page = control_.takeFd();
  if (roles_.names.count(role) == 0)
    throw std::runtime_error("no role " + role + " here");
  if (page.get() < 0) throw std::runtime_error("fork request came without its descriptors");

  std::fflush(nullptr);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) becomeChild(role, parent, std::move(channel), std::move(log), std::move(page));
  if (pid < 0) throw std::runtime_error(std::string("could not fork: ") + std::strerror(errno));
  ::setpgid(pid, pid);
  children_[pid] = true;
  control_.write({{"op", "forked"}, {"id", id}, {"pid", pid}});
}

void Zygote::signal(const json &request) {
  const pid_t pid = request.at("pid");
  const int sig = request.at("sig");
  if (children_.count(pid) == 0) return; // reaped: the number may be somebody else's by now
  ::kill(sig == SIGKILL ? -pid : pid, sig);
  if (sig == SIGKILL) ::kill(pid, sig); // in case it left its group
}

void Zygote::onChildren() {
  signalfd_siginfo drain;
  while (::read(signals_.get(), &drain, sizeof drain) > 0) {
  }
  int status = 0;
  rusage usage{};
  for (pid_t pid; (pid = ::wait4(-1, &status, WNOHANG, &usage)) > 0;) {
    if (children_.erase(pid) == 0) continue; // an orphan of a child
    ::kill(-pid, SIGKILL);                   // and what it started
    control_.write(
        {{"op", "exited"}, {"pid", pid}, {"status", status}, {"maxrss", usage.ru_maxrss}});
  }
  killOrphans(); // as each dies what it started comes to us, and with it another SIGCHLD
}

bool Zygote::killOrphans() {
  bool some = false;
  std::ifstream mine("/proc/self/task/" + std::to_string(::getpid()) + "/children");
  for (pid_t pid; mine >> pid;) {
    if (children_.count(pid) > 0) continue;
    ::kill(pid, SIGKILL);
    some = true;
  }
  return some;
}

void Zygote::leave() {
  for (const auto &child : children_) {
    ::kill(-child.first, SIGKILL);
    ::kill(child.first, SIGKILL);
  }
  for (const auto &child : children_)
    ::waitpid(child.first, nullptr, 0);
  children_.clear();
  while (killOrphans()) // as they die, what they started comes to us
    ::waitpid(-1, nullptr, 0);
}

void Zygote::becomeChild(const std::string &role, pid_t parent, Channel channel, Fd log, Fd page) {
  // The death signal follows the thread that forked; the zygote has but one.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  ::setpgid(0, 0);
  // What leaves this process's group or session stays among its descendants, where it can be counted,
  // and comes to the zygote, which kills it, when this process ends.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  control_.close();
  signals_.reset();
  if (log.get() >= 0) {
    ::dup2(log.get(), STDOUT_FILENO);
    ::dup2(log.get(), STDERR_FILENO);
    log.reset();
  }
  SharedPage *shared = mapPage(page.get());
  if (!shared) ::_exit(1);
  shared->entry.store(-1);
  const int status = roles_.live(role, channel, shared, std::move(page));
  std::fflush(nullptr);
  ::_exit(status);
}

} // namespace dtpnode
