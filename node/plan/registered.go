package plan

import (
	"cmp"
	"fmt"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/api"
)

// maxDatasetNotes bounds the notes of a job on its datasets, which may be many.
const maxDatasetNotes = 20

// datasetNotes tell the user what a job's datasets are no more what they were, or whose they are where their names do
// not say it: both have a job run over other entries than its user has in mind. A file that cannot be read has its own
// words.
func datasetNotes(req api.JobRequest, plans []exec.Plan, bad []*exec.Failure) (notes []string) {
	if len(req.Datasets) == 0 {
		return nil
	}
	type key struct{ url, part string }
	read := map[key]exec.Plan{} // with no part those of any
	for i, f := range req.Files {
		if bad[i] == nil {
			read[key{f.URL, PartOf(req, f)}], read[key{f.URL, ""}] = plans[i], plans[i]
		}
	}
	for _, set := range req.Datasets {
		changed, first := 0, ""
		for _, was := range set.Files {
			now, ok := read[key{was.URL, was.Part}]
			if !ok {
				if now, ok = read[key{was.URL, ""}]; !ok {
					continue
				}
				was.Entries = now.Entries // of another tree
			}
			if what := changedSince(was, now, req.AllowCopies); what != "" {
				changed++
				first = cmp.Or(first, fmt.Sprintf("%s %s", was.URL, what))
			}
		}
		if set.Asked != "" {
			notes = append(notes, fmt.Sprintf("the dataset %s is %s: this node has registered none of that name", set.Asked,
				set.Name))
		}
		if changed > 0 {
			notes = append(notes, fmt.Sprintf("%d of %d files of the dataset %s are not what was registered, and were read as "+
				"they are now: %s; `dtpnode dataset verify %s` lists them", changed, len(set.Files), set.Name, first, set.Name))
		}
	}
	return notes[:min(len(notes), maxDatasetNotes)]
}

// changedSince says what of a file is not as it was when it was registered; empty if nothing is known to be.
func changedSince(was api.DatasetFile, now exec.Plan, copies bool) string {
	switch {
	case now.Entries != was.Entries:
		return fmt.Sprintf("has %d entries, and had %d", now.Entries, was.Entries)
	case was.UUID != "" && now.UUID != was.UUID && !copies:
		return fmt.Sprintf("was written anew: its UUID is %s, and was %s", cmp.Or(now.UUID, "none"), was.UUID)
	}
	return ""
}
