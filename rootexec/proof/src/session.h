// How a session reaches the pool: by the dtpnode command, whose answers are JSON.
#pragma once

#include "Rtypes.h"

#include <functional>
#include <string>
#include <vector>

namespace dtpnode {

/// What a node has done of a job.
struct NodeWork {
  std::string name;
  Long64_t units = 0, packets = 0;
};

/// One line that a command printed, or what is known of a job by it.
struct JobStatus {
  std::string id, state, error, hint, output;
  std::vector<std::string> notes;
  std::vector<std::string> fileNotes; // what the user should know of files that the job has written
  Long64_t units = 0, done = 0, bytes = 0;
  double seconds = 0;
  int slots = 0;
  std::vector<NodeWork> nodes;
};

/// What a node of the pool offers.
struct Member {
  std::string name;
  int slots = 0;
  bool up = false, self = false;
};

/// A command's end.
struct Ended {
  int status = 127;
  std::string out, err;
};

class Session {
 public:
  /// Finds the command, and a node that runs, or starts one that lives as long as this process. state is the folder of
  /// the node; empty for that of the user.
  explicit Session(int workers, const std::string &state = "");
  /// Goes to the node that runs, without looking whether one does: code in a job seldom asks for anything.
  Session();
  ~Session();
  Session(const Session &) = delete;
  Session &operator=(const Session &) = delete;

  /// Ends the node that was started here, and removes the session's folder.
  void close();

  /// Why no session could be had; empty if there is one.
  const std::string &error() const { return error_; }
  /// A folder for the session's files, made at the first call; empty if it cannot be.
  const std::string &folder() const;
  bool ownNode() const { return node_ > 0; }

  /// Runs the command to its end. What it prints to standard error is shown unless quiet.
  Ended call(const std::vector<std::string> &args, bool quiet = false) const;
  /// Runs a job, and reports each status of it. The last one is returned, with the exit status.
  JobStatus follow(const std::vector<std::string> &args, const std::function<void(const JobStatus &)> &report,
                   const std::function<void(const std::string &)> &printed, int &status) const;
  std::vector<Member> members() const;
  /// A new path in the session's folder.
  std::string temporary(const std::string &suffix);

 private:
  bool running() const;
  bool start(int workers);
  void spawn(int workers);
  /// The arguments of the command, with the node's folder.
  std::vector<std::string> toNode(const std::vector<std::string> &args) const;

  std::string command_, error_, state_;
  mutable std::string folder_;
  int node_ = 0; // process id of a node that was started here
  int files_ = 0;
};

} // namespace dtpnode
