// Tells a selector that its chain has come to another tree, but for the time in which its Init runs.
#pragma once

#include <TObject.h>

namespace dtpnode {

/// A chain that has friends comes to other trees of theirs while Init() makes formulas of it, and Init() is called for
/// each file: what it makes anew, Notify() would find deleted then. On PROOF's workers, and in one process, Init() had
/// nothing to be notified of while it ran for another file; and Notify() is called behind it in any case.
class Notifies : public TObject {
 public:
  void to(TObject *selector) { to_ = selector; }
  bool Notify() override { return !to_ || muted_ || to_->Notify(); }

  /// Runs f, in which nobody is told.
  template <class F>
  void muted(F f) {
    const Muted until(muted_);
    f();
  }

 private:
  struct Muted {
    explicit Muted(bool &muted) : muted_(muted) { muted_ = true; }
    ~Muted() { muted_ = false; }
    Muted(const Muted &) = delete;
    Muted &operator=(const Muted &) = delete;
    bool &muted_;
  };

  TObject *to_ = nullptr;
  bool muted_ = false;
};

} // namespace dtpnode
