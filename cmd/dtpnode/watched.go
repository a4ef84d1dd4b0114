package main

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"go-hep.org/x/hep/groot/riofs"

	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/node/api"
)

// When a job has ended, whoever watched it is told what the last snapshot counts, since its objects were not whole, and
// which of the names nothing in the output has: such a name is most often a mistake, and a snapshot cannot tell it from
// one that is not there yet.

// watchedSoFar is how far the watching of a job went.
type watchedSoFar struct {
	last   *api.Snapshot // the last one that was shown, nil if there was none
	failed bool          // no more could be shown, as was said then
}

// tellWatched tells it to the user of run.
func (g *globals) tellWatched(out output, st api.JobStatus, so watchedSoFar) {
	w, last := out.watch, so.last
	if len(w.names) == 0 {
		return
	}
	lines := endOfWatch(so, w.file, st.Output)
	if keys, ok := keysOf(st.Output); ok {
		lines = append(lines, neverThere(w.names, keys, last)...)
	} else if last != nil && len(last.Absent) > 0 {
		lines = append(lines, "no snapshot had "+progress.Clean(strings.Join(last.Absent, ", ")))
	}
	for _, line := range lines {
		fmt.Fprintln(g.beside(out), "note: "+line)
	}
}

// endOfWatch says what is left of the last snapshot. result is the path of the result, empty if that is not known.
func endOfWatch(so watchedSoFar, file, result string) (lines []string) {
	last := so.last
	whole := "the result has the whole"
	if result != "" {
		whole += ": " + progress.Clean(result)
	}
	switch {
	case last == nil && so.failed && file != "":
		return []string{progress.Clean(file) + " was not written, since the job could not be watched; " + whole}
	case last == nil && so.failed:
		return []string{"no snapshot of what was watched could be shown"}
	case last == nil && file != "":
		return []string{"the job ended before the first snapshot, so that " + progress.Clean(file) +
			" was not written; " + whole}
	case last == nil:
		return []string{"the job ended before the first snapshot of what was watched"}
	case file != "":
		lines = append(lines, fmt.Sprintf("%s has the objects as they were at %s, after %s of %s entries and before "+
			"Terminate; %s", progress.Clean(file), last.At.Local().Format(time.TimeOnly), progress.Count(last.Units),
			progress.Count(last.Of), whole))
	}
	if len(last.Absent) > 0 && result == "" {
		lines = append(lines, "not there in the last snapshot: "+progress.Clean(strings.Join(last.Absent, ", ")))
	}
	return lines
}

// keysOf are the names of the objects in a result; false if the file cannot be read here.
func keysOf(result string) (keys []string, ok bool) {
	if result == "" {
		return nil, false
	}
	defer func() { // it reads classes that it has never seen
		if recover() != nil {
			keys, ok = nil, false
		}
	}()
	f, err := riofs.Open(result)
	if err != nil {
		return nil, false
	}
	defer f.Close()
	for _, k := range f.Keys() {
		keys = append(keys, k.Name())
	}
	return keys, true
}

// neverThere names what was watched for and is not in the result, with what is.
func neverThere(names, keys []string, last *api.Snapshot) []string {
	var never []string
	for _, name := range names {
		has := func(key string) bool {
			hit, err := path.Match(name, key)
			return key == name || strings.HasPrefix(key, name+";") || err == nil && hit
		}
		if !slices.ContainsFunc(keys, has) && (last == nil || !slices.Contains(last.Left, name)) {
			never = append(never, name)
		}
	}
	if len(never) == 0 {
		return nil
	}
	const most = 20
	there := slices.Compact(slices.Sorted(slices.Values(keys)))
	text := strings.Join(there[:min(len(there), most)], ", ")
	if len(there) > most {
		text += ", ..."
	}
	return []string{fmt.Sprintf("nothing in the output is called %s; it has %s",
		progress.Clean(strings.Join(never, ", ")), progress.Clean(text))}
}
