package progress

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/dtpnode/dtpnode/node/api"
)

// Summary prints how a job ended: each node's share, what is missing and why, what to do next.
func Summary(w io.Writer, st api.JobStatus) { summary(w, st, true) }

// SummaryOfShown is Summary for a job of which nothing is kept but what was shown.
func SummaryOfShown(w io.Writer, st api.JobStatus) { summary(w, st, false) }

func summary(w io.Writer, st api.JobStatus, kept bool) {
	pace := ""
	if counted(st) {
		rate := Rate(average(float64(ranNow(st)), st))
		pace = fmt.Sprintf(" (%s%s/s, %s read)", rate, st.Called(), Bytes(float64(st.Bytes)))
	}
	fmt.Fprintf(w, "%s: %s in %s%s, job %s%s%s\n", line(string(st.State)), Extent(st), Seconds(st.Seconds), pace,
		Short(st.ID), beforeOf(st), skippedOf(st))
	for _, n := range st.Notes {
		fmt.Fprintf(w, "Note: %s\n", line(n))
	}
	codes(w, st)
	Nodes(w, st)
	missing(w, st)
	skipped(w, st)
	if e := st.EndedIn; e != nil {
		left := "no files there"
		if len(e.Files) > 0 {
			left = "there " + line(strings.Join(e.Files, ", "))
		}
		where := "the node"
		if st.SubmitterName != "" {
			where = line(st.SubmitterName)
		}
		fmt.Fprintf(w, "Terminate ran on %s, since %s, where the job was submitted, was away or could not run it; it "+
			"worked in %s and left %s\n",
			line(e.Node), where, line(e.Folder), left)
	}
	if len(st.Canvases) > 0 {
		fmt.Fprintf(w, "Canvases saved: %s\n", line(strings.Join(st.Canvases, ", ")))
	}
	for _, why := range st.Unsaved {
		fmt.Fprintf(w, "Canvas not saved: %s\n", line(why))
	}
	if len(st.Apart) > 0 {
		fmt.Fprintf(w, "Not merged, kept apart in the output: %s\n", line(strings.Join(st.Apart, ", ")))
	}
	outputFiles(w, st)
	switch {
	case st.Output != "":
		fmt.Fprintf(w, "Output: %s\n", line(st.Output))
	case !kept: // the node that ran it ends
	case st.State == api.Done || st.State == api.Partial:
		out := "out.root"
		if st.Called() != "events" {
			out = "FILE"
		}
		fmt.Fprintf(w, "The output is kept: dtpnode get %s -o %s\n", Short(st.ID), out)
	}
	if st.State == api.Partial {
		fmt.Fprintf(w, "`dtpnode retry %s` runs what is missing and merges it with the rest\n", Short(st.ID))
	}
}

// codes says which part was run by which code, if not all by the same.
func codes(w io.Writer, st api.JobStatus) {
	if len(st.Codes) == 0 {
		return
	}
	fmt.Fprintln(w, "Not all "+st.Called()+" were run by the same code:")
	tw := Table(w)
	for _, c := range st.Codes {
		of := "of job " + Short(c.Job)
		if c.Job == st.ID {
			of = "of this job"
		}
		fmt.Fprintf(tw, "  %s %s\t%s %s\tsources %s\t", Count(c.Entries), st.Called(), line(c.Title), of, Short(c.Source))
		for _, name := range slices.Sorted(maps.Keys(c.Params)) {
			fmt.Fprintf(tw, "%s=%s ", line(name), line(c.Params[name]))
		}
		fmt.Fprintln(tw)
	}
	tw.Flush()
}

// ranNow is how many events were processed for a job, without those that it took from an earlier one.
func ranNow(st api.JobStatus) int64 { return max(st.Done-st.Before, 0) }

// beforeOf says how much a job took from an earlier one.
func beforeOf(st api.JobStatus) string {
	if st.RetryOf == "" {
		return ""
	}
	return ", " + Count(st.Before) + " of them from job " + Short(st.RetryOf)
}

// counted reports whether the counts of the nodes cover the whole job. They do not include what a node had done before
// it was restarted, and the last report of one that was killed may be missing.
func counted(st api.JobStatus) bool {
	var units int64
	for _, n := range st.Nodes {
		units += n.Units
	}
	return len(st.Nodes) == 0 || 10*units >= 9*ranNow(st)
}

// surplus is how much more the nodes of a stopped job have run than is in its result.
func surplus(st api.JobStatus) int64 {
	if !st.State.Halted() {
		return 0 // what was run and is not committed yet may still count
	}
	var units int64
	for _, n := range st.Nodes {
		units += n.Units
	}
	return max(units-ranNow(st), 0)
}

// average is n per second of the time that work took, if the daemon reports it, else of the job's whole time.
func average(n float64, st api.JobStatus) float64 {
	seconds := cmp.Or(max(st.Working, 0), st.Seconds)
	if seconds <= 0 {
		return 0
	}
	return n / seconds
}

// Nodes prints the table of each node's share of a job.
func Nodes(w io.Writer, st api.JobStatus) {
	if len(st.Nodes) == 0 {
		return
	}
	units := strings.ToUpper(st.Called())
	rows := [][]string{{"NODE", units, units + "/S", "PACKETS", "STEALS", "MERGES", "FAILURES"}}
	for _, n := range st.Nodes {
		name := line(n.Name)
		if !n.Up {
			name += " (gone)"
		}
		rows = append(rows,
			[]string{name, Count(n.Units), strings.TrimSpace(Rate(n.Rate)), Count(n.Packets), Count(n.Steals), Count(n.Merges),
				Count(n.Failures)})
	}
	Grid(w, Width(w), rows, 0)
	if n := surplus(st); n > 0 {
		fmt.Fprintf(w, "%s of these %s do not count in the result, where each counts once: what is lost or fails on a "+
			"node is run again.\n", Count(n), st.Called())
	}
	if !counted(st) {
		fmt.Fprintf(w, "The other %s were processed before a node was started again, whose counts began anew then.\n",
			st.Called())
	}
	for _, n := range st.Nodes {
		if n.Lost > 0 {
			failed := ""
			if n.Failures > 0 {
				failed = fmt.Sprintf(", %d of its tries failed", n.Failures)
			}
			fmt.Fprintf(w, "%s did not deliver %d entries that it had taken%s: other nodes ran them\n", line(n.Name), n.Lost,
				failed)
		}
		if n.Slow > 0 {
			fmt.Fprintf(w, "%s handed out what it made too slowly, %d of its results: where other nodes had time they ran "+
				"that again\n", line(n.Name), n.Slow)
		}
		if n.Problem != "" {
			fmt.Fprintf(w, "%s was set aside, since %s\n", line(n.Name), asideFor(line(n.Problem)))
		}
		Unseen(w, "node "+line(n.Name), n.Unseen, len(st.Nodes) > 1, cmp.Or(line(st.SubmitterName), "its submitter"))
	}
}

// asideFor is why a node was set aside. Unless something is wrong with what it has made, nothing went well there.
func asideFor(problem string) string {
	if strings.HasPrefix(problem, api.HandedIn) {
		return problem
	}
	return "everything failed there: " + problem
}

// differs is the cause for a file that a host has in another version than was planned (exec.CauseDiffers).
const differs = "differs"

// Unseen prints which files a host does not see, and that others have them, if there are other members. It also prints
// which files the host has in another version than the submitter planned; either version may be the stale one.
func Unseen(w io.Writer, who string, all []api.Unseen, others bool, submitter string) {
	for _, u := range all {
		where, files := line(u.Where), "1 file"
		if u.Files > 1 {
			where, files = where+"…", Count(int64(u.Files))+" files"
		}
		left := ""
		if others {
			left = ": " + files + " left to others"
		}
		if u.Cause == differs {
			if of := ofFriend.FindStringSubmatch(u.Reason); of != nil { // the files beside it may all be the same
				where = "the friend's file " + line(of[1])
			}
			fmt.Fprintf(w, "%s has another version of %s than was planned when %s submitted the job (there %s)%s\n", who, where,
				submitter, line(u.Reason), left)
			fmt.Fprintf(w, "    next: the result holds the planned version; make the file the same on all hosts, and if the "+
				"planned one was stale run the job again\n")
			continue
		}
		fmt.Fprintf(w, "%s does not see %s (%s)%s\n", who, where, line(u.Reason), left)
	}
}

// Table returns a writer that aligns columns: cells end with a tab, and the caller flushes. No line ends with blanks.
func Table(w io.Writer) *tabwriter.Writer {
	return tabwriter.NewWriter(&trimmed{w: w}, 0, 8, 2, ' ', 0)
}

// trimmed is a writer that removes the blanks at the ends of lines.
type trimmed struct {
	w      io.Writer
	blanks int // blanks held back until it is known what follows them
}

func (t *trimmed) Write(b []byte) (int, error) {
	var out []byte
	for _, c := range b {
		switch c {
		case ' ':
			t.blanks++
			continue
		case '\n':
			t.blanks = 0
		}
		out = append(append(out, bytes.Repeat([]byte(" "), t.blanks)...), c)
		t.blanks = 0
	}
	if _, err := t.w.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Short is the part of a job's or peer's name that is shown, which suffices to name it.
func Short(id string) string { return line(id[:min(len(id), 12)]) }

// skippedOf says how many of the events counted as done the selector skipped.
func skippedOf(st api.JobStatus) string {
	if st.SkippedEntries == 0 {
		return ""
	}
	files := " files"
	if st.SkippedFiles == 1 {
		files = " file"
	}
	return ", " + manyEntries(st.SkippedEntries) + " skipped by Abort(kAbortFile) in " +
		Count(int64(st.SkippedFiles)) + files
}

// skipped prints what the selector skipped, by file.
func skipped(w io.Writer, st api.JobStatus) {
	const most = 20
	for i, s := range st.Skipped {
		if i == most {
			fmt.Fprintf(w, "  and more in %s other files: dtpnode status %s --output json\n", Count(int64(st.SkippedFiles-most)),
				Short(st.ID))
			break
		}
		fmt.Fprintf(w, "Skipped by Abort(kAbortFile)%s: the %s behind it in %s%s\n", abortedAt(s), manyEntries(s.Entries),
			line(s.File), abortReason(s))
		if s.Ran > 0 {
			fmt.Fprintf(w, "  %s more behind it may be in the result, since a failure had divided the file: run it again to be "+
				"sure\n", Count(s.Ran))
		}
	}
}

// abortedAt says where the code gave a file up.
func abortedAt(s api.Skipped) string {
	if s.Entry < 0 {
		return " in " + cmp.Or(line(s.Step), "Init") + ", after which ROOT still runs one entry"
	}
	return " at entry " + Count(s.Entry)
}

// abortReason is the code's own word, to end a line.
func abortReason(s api.Skipped) string {
	if s.Reason == "" {
		return ""
	}
	return ": " + line(s.Reason)
}

// manyEntries is a number of entries, in words.
func manyEntries(n int64) string {
	if n == 1 {
		return "1 entry"
	}
	return Count(n) + " entries"
}
