// forks: what a program begins with that runs many times, so that it waits for ROOT's start only once.
//
//   PROGRAM --serve    with a socket of whole messages (SOCK_SEQPACKET) as descriptor 3
//
// Each message asks for one run: the working folder and the arguments, each with a zero byte behind it, and three
// descriptors: standard output, standard error, and one to which the run's status is written as waitpid gives it (a
// native int). A run is a fork of its own, so that none sees what another one has done. It serves until the other end
// of the socket is closed. With other arguments PROGRAM runs once, itself.

#include <TClass.h>
#include <TROOT.h>

#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

int program(int argc, char **argv); // the main function of what is run

namespace forks {

constexpr int kSocket = 3;
constexpr size_t kMaxMessage = 1 << 20;

struct Request {
   std::vector<std::string> words; // the working folder, and the arguments
   int out = -1, err = -1, status = -1;
};

bool receive(Request &r)
{
   std::vector<char> text(kMaxMessage);
   alignas(cmsghdr) char beside[CMSG_SPACE(3 * sizeof(int))];
   iovec part{text.data(), text.size()};
   msghdr m{};
   m.msg_iov = &part;
   m.msg_iovlen = 1;
   m.msg_control = beside;
   m.msg_controllen = sizeof beside;
   const ssize_t n = recvmsg(kSocket, &m, MSG_CMSG_CLOEXEC);
   const cmsghdr *rights = n > 0 ? CMSG_FIRSTHDR(&m) : nullptr;
   if (!rights || rights->cmsg_len != CMSG_LEN(3 * sizeof(int)) || (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
      return false;
   int fds[3];
   std::memcpy(fds, CMSG_DATA(rights), sizeof fds);
   r.out = fds[0], r.err = fds[1], r.status = fds[2];
   for (const char *at = text.data(); at < text.data() + n; at += r.words.back().size() + 1)
      r.words.emplace_back(at);
   return !r.words.empty();
}

[[noreturn]] void run(const Request &r)
{
   dup2(r.out, STDOUT_FILENO);
   dup2(r.err, STDERR_FILENO);
   for (const int fd : {r.out, r.err, r.status, kSocket})
      close(fd);
   if (chdir(r.words[0].c_str()) != 0) {
      std::perror(r.words[0].c_str());
      _exit(2);
   }
   std::vector<char *> argv{const_cast<char *>("program")};
   for (size_t i = 1; i < r.words.size(); ++i)
      argv.push_back(const_cast<char *>(r.words[i].c_str()));
   argv.push_back(nullptr);
   const int status = program(static_cast<int>(argv.size()) - 1, argv.data());
   std::fflush(nullptr);
   _exit(status);
}

// follow waits for a run of its own, and tells how it has ended.
[[noreturn]] void follow(const Request &r)
{
   std::signal(SIGCHLD, SIG_DFL);
   const pid_t pid = fork();
   if (pid == 0)
      run(r);
   int status = -1;
   if (pid > 0)
      waitpid(pid, &status, 0);
   _exit(write(r.status, &status, sizeof status) == sizeof status ? 0 : 1);
}

int serve()
{
   gROOT->SetBatch();
   gROOT->ProcessLine("0;"); // what the interpreter does at first
   for (const char *name : {"TH1D", "TH2D", "TProfile", "TList", "TNamed", "TTree", "TChain", "TFile"})
      TClass::GetClass(name);
   std::signal(SIGCHLD, SIG_IGN); // nobody waits for those that follow
   for (;;) {
      Request r;
      if (!receive(r))
         return 0;
      const pid_t pid = fork();
      if (pid == 0)
         follow(r);
      for (const int fd : {r.out, r.err, r.status})
         close(fd);
   }
}

} // namespace forks

int main(int argc, char **argv)
{
   if (argc == 2 && std::strcmp(argv[1], "--serve") == 0)
      return forks::serve();
   return program(argc, argv);
}
