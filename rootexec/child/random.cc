#include "random.h"

#include "guard.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <sys/random.h>

namespace dtpnode {

namespace {

uint64_t scramble(uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

uint64_t hashOf(uint64_t a, uint64_t b) {
  return scramble(scramble(a + 0x9e3779b97f4a7c15) + b * 0xd1342543de82ef95 + 1);
}

} // namespace

StreamRandom::StreamRandom(uint64_t seed) : seed_(seed) { enter(kSlaveBegin); }

void StreamRandom::enter(int64_t stream) {
  stream_ = stream;
  twister_ = false;
  state_ = hashOf(hashOf(seed_, stream >= 0 ? salt_ : 0), static_cast<uint64_t>(stream));
  gamma_ = scramble(state_ ^ 0xaaaaaaaaaaaaaaaa) | 1;
}

// The 52 uppermost bits, between 0 and 1 and never one of them.
double StreamRandom::draw() {
  state_ += gamma_;
  return (static_cast<double>(scramble(state_) >> 12) + 0.5) * 0x1p-52;
}

Double_t StreamRandom::Rndm() { return twister_ ? TRandom3::Rndm() : draw(); }

void StreamRandom::RndmArray(Int_t n, Float_t *array) {
  if (twister_) return TRandom3::RndmArray(n, array);
  for (Int_t i = 0; i < n; ++i)
    array[i] = static_cast<Float_t>(draw());
}

void StreamRandom::RndmArray(Int_t n, Double_t *array) {
  if (twister_) return TRandom3::RndmArray(n, array);
  for (Int_t i = 0; i < n; ++i)
    array[i] = draw();
}

void StreamRandom::SetSeed(ULong_t seed) {
  if (seed == 0) return;
  TRandom3::SetSeed(seed);
  twister_ = true;
  if (stream_ < 0) salt_ = seed;
}

UInt_t StreamRandom::GetSeed() const {
  return twister_ ? TRandom3::GetSeed() : static_cast<UInt_t>(scramble(state_));
}

StreamRandom *installStreams(uint64_t seed) {
  auto *streams = new StreamRandom(seed);
  // What a library has kept of gRandom goes on to work, and is the same everywhere.
  if (gRandom) gRandom->SetSeed(static_cast<UInt_t>(scramble(seed + 1)) | 1);
  gRandom = streams;
  ::srand(static_cast<unsigned>(scramble(seed + 2)));
  ::srand48(static_cast<long>(scramble(seed + 3) >> 1));
  return streams;
}

void seedByChance() {
  uint32_t words[3] = {};
  for (ssize_t got = 0; got < static_cast<ssize_t>(sizeof words);) {
    const ssize_t n = ::getrandom(reinterpret_cast<char *>(words) + got, sizeof words - static_cast<size_t>(got), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw Failure("internal", std::string("could not get a seed: ") + std::strerror(errno));
    got += n;
  }
  if (gRandom) gRandom->SetSeed(words[0] | 1);
  // ROOT takes 32 bits for a seed: of so many, two of a hundred thousand processes have the same. So the sequence is
  // entered at one of a thousand places too.
  for (uint32_t skip = words[1] % 1024; gRandom && skip > 0; --skip)
    gRandom->Rndm();
  ::srand(words[2]);
  ::srand48(static_cast<long>(words[1]));
}

} // namespace dtpnode
