// Random numbers that are the same whoever runs an entry.
#pragma once

#include <TRandom3.h>
#include <cstdint>

namespace dtpnode {

/// gRandom of a job with a seed: a stream of random numbers for each entry, and for what runs outside entries, which
/// depends on the seed and on the stream's number alone. So it does not matter how a job is cut, and who runs which
/// part. A stream is a counter that is hashed, so that beginning one costs as much as drawing a number.
///
/// It is a TRandom3, as code expects of gRandom, and is ROOT's generator from SetSeed(n) of the user's code on, with n
/// other than 0, to the end of the stream. SetSeed(0), which asks for a seed of chance, is ignored.
class StreamRandom : public TRandom3 {
 public:
  /// What runs outside entries; entries have the numbers from 0.
  enum Stream : int64_t { kBegin = -1, kSlaveBegin = -2, kSlaveTerminate = -3, kTerminate = -4, kFirstInit = -16 };
  /// The stream for Init and Notify of the file whose first entry has a number.
  static int64_t initOf(int64_t base) { return kFirstInit - base; }

  explicit StreamRandom(uint64_t seed);

  /// Goes to the beginning of a stream. What SetSeed() set outside entries goes into the streams of the entries
  /// behind it.
  void enter(int64_t stream);

  using TRandom3::Rndm;
  Double_t Rndm() override;
  void RndmArray(Int_t n, Float_t *array) override;
  void RndmArray(Int_t n, Double_t *array) override;
  void SetSeed(ULong_t seed = 0) override;
  UInt_t GetSeed() const override;

 private:
  double draw();

  const uint64_t seed_;
  uint64_t salt_ = 0;              // of SetSeed() outside entries
  uint64_t state_ = 0, gamma_ = 1; // of the stream: where its counter stands, and its odd step
  int64_t stream_ = 0;
  bool twister_ = false; // the rest of the stream is ROOT's own generator
};

/// Makes gRandom a StreamRandom, which it stays to the end of the process.
StreamRandom *installStreams(uint64_t seed);

/// Gives gRandom, and the C library's generators, a seed of chance: forked processes would draw the same numbers else.
void seedByChance();

} // namespace dtpnode
