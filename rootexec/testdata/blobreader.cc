// Reads the blob that its argument names; else blobs from standard input, each behind its length in four little-endian
// bytes, after a line with the version code of ROOT. It answers each with a line: "ok" and the number of records, or
// "no". FuzzBlobReader compiles this
// together with blob.cc under the address and undefined behaviour sanitizers, which end the process at the first error.
#include "blob.cc"
#include "channel.cc"
#include "spanfile.cc"

#include <sys/mman.h>

using namespace dtpnode;

namespace {

// Objects are not read: what their bytes make ROOT do is not for BlobReader to judge.
size_t count(const std::string &path, uint64_t size) {
  BlobReader reader(path);
  uint64_t at = 16;
  for (const Record &r : reader.records()) {
    if (r.offset < at + r.name.size() + r.cls.size() || r.offset + r.length > size) std::abort();
    at = r.offset + r.length;
  }
  if (at != size) std::abort(); // nothing is passed over
  return reader.records().size();
}

void answer(const std::string &path, uint64_t size) {
  try {
    std::printf("ok %zu\n", count(path, size));
  } catch (const Failure &) {
    std::printf("no\n");
  }
  std::fflush(stdout);
}

} // namespace

int main(int argc, char **argv) {
  struct stat st{};
  if (argc > 1 && ::stat(argv[1], &st) == 0) {
    answer(argv[1], static_cast<uint64_t>(st.st_size));
    return 0;
  }
  std::printf("%d\n", gROOT->GetVersionCode());
  std::fflush(stdout);
  std::vector<char> bytes;
  uint32_t size = 0;
  while (std::fread(&size, sizeof size, 1, stdin) == 1) {
    bytes.resize(size);
    if (size > 0 && std::fread(bytes.data(), size, 1, stdin) != 1) return 1;
    Fd file(::memfd_create("blob", MFD_CLOEXEC));
    if (file.get() < 0 || ::write(file.get(), bytes.data(), size) != static_cast<ssize_t>(size)) return 1;
    answer("/proc/self/fd/" + std::to_string(file.get()), size);
  }
}
