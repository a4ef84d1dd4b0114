// The base zygote of dtpnode. Not for use by hand: dtpnode starts it with a socket as descriptor 3.
#include "channel.h"
#include "guard.h"
#include "protocol.h"
#include "roles.h"
#include "warm.h"
#include "zygote.h"

#include <TEnv.h>
#include <TROOT.h>
#include <cstdio>
#include <fcntl.h>
#include <malloc.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

int main() {
  using namespace dtpnode;
  if (::fcntl(kControlFd, F_SETFD, FD_CLOEXEC) != 0) {
    std::fprintf(stderr, "this program is started by dtpnode\n");
    return 2;
  }
  // Whole lines: what a child printed before a crash must not sit in a buffer.
  ::setvbuf(stdout, nullptr, _IOLBF, 1 << 16);
  gROOT->SetBatch(true);
  resetSignals();
  // What is freed goes back to the system: glibc would keep ever larger blocks for the next use, in each
  // of the processes that are forked from here.
  ::mallopt(M_MMAP_THRESHOLD, 1 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 4 << 20);
  gEnv->SetValue("TFile.Recover", 0); // a truncated file is an error, not a smaller file
  warmUp();
  Channel control{Fd(kControlFd)};
  if (!control.write({{"op", "hello"}, {"protocol", kProtocol}, {"version", gROOT->GetVersion()}}))
    return 1;
  Zygote(control, baseRoles()).processRequests();
  ::_exit(0);
}
