// What is shown of a query while it runs: merged snapshots of objects of its output, and how the work is spread.
#pragma once

#include "session.h"

#include <chrono>
#include <memory>
#include <string>
#include <sys/types.h>
#include <vector>

class TList;

namespace dtpnode {

class Feedback {
 public:
  /// names are those of the objects. input may say by PROOF_FeedbackPeriod how often, in ms; it is once a second at most.
  Feedback(const std::vector<std::string> &names, const TList &input, Session &session);

  /// The arguments by which a job writes snapshots; none if no object of its output is wanted.
  std::vector<std::string> arguments() const;
  /// The objects as they are, if there is something new; else null. They belong to the list.
  std::unique_ptr<TList> look(const JobStatus &status);

 private:
  bool read(TList &into);

  std::vector<std::string> names_;
  std::string path_;   // of the ROOT file that is replaced by each snapshot
  bool stats_ = false; // how the work is spread is wanted
  long every_ = 2;     // seconds
  ino_t last_ = 0;     // the file that was read last
  std::chrono::steady_clock::time_point told_{};
};

/// Adds the histograms in which PROOF counted entries and packets by worker: here by node.
void addStats(const JobStatus &status, TList &into);

} // namespace dtpnode
