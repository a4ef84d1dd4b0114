package jobs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/plan"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/tasks"
)

// A retry may run what is missing with other code, or other parameters, than the rest was run with. The runtime merges
// the partials of both like those of one job. Whether it can do that is tried before anything runs. The description
// says how much was run by which code.

// ranBefore lists by which code the units that a retry takes over from an earlier job were run. It is empty if that is
// only the code of the retry itself.
func ranBefore(desc, old *tasks.Job) []tasks.Ran {
	var ran []tasks.Ran
	left := desc.Ask.Again.Units
	if a := old.Ask.Again; a != nil {
		ran = slices.Clone(a.Ran)
	}
	for _, r := range ran {
		left -= r.Units
	}
	left = max(left, 0)
	last := tasks.Ran{
		Code: codeOf(old.Work), Title: old.Ask.Title, Params: old.Ask.Params, Job: store.NameOf(old), Units: left,
	}
	if i := slices.IndexFunc(ran, func(r tasks.Ran) bool { return sameCode(r, last) }); i >= 0 {
		ran[i].Units += left
	} else if left > 0 {
		ran = append(ran, last)
	}
	if len(ran) == 1 && sameCode(ran[0], tasks.Ran{Code: codeOf(desc.Work), Params: desc.Ask.Params}) {
		return nil
	}
	return ran
}

// codeOf tells one code from another (tasks.Work.Code). What a job reads of its files, and beside them, is no code: a
// retry has the same, with other UUIDs if files were written anew.
func codeOf(w tasks.Work) string {
	w.Ships = slices.DeleteFunc(slices.Clone(w.Ships), func(s tasks.Ship) bool { return s.Name == exec.SelectionBlob })
	return w.Code()
}

func sameCode(a, b tasks.Ran) bool { return a.Code == b.Code && slices.Equal(a.Params, b.Params) }

// codesOf lists how many of a job's committed entries were run by which code. It is empty if all were run by one.
func codesOf(desc *tasks.Job, committed int64) (out []api.Code) {
	a := desc.Ask.Again
	if a == nil || len(a.Ran) == 0 {
		return nil
	}
	now := tasks.Ran{
		Code: codeOf(desc.Work), Title: desc.Ask.Title, Params: desc.Ask.Params, Job: store.NameOf(desc),
		Units: max(committed-a.Units, 0),
	}
	all := slices.Clone(a.Ran)
	if i := slices.IndexFunc(all, func(r tasks.Ran) bool { return sameCode(r, now) }); i >= 0 {
		all[i].Units += now.Units
	} else {
		all = append(all, now)
	}
	for _, r := range all {
		c := api.Code{Title: r.Title, Source: r.Code, Job: r.Job, Entries: r.Units}
		for _, p := range r.Params {
			if c.Params == nil {
				c.Params = map[string]string{}
			}
			c.Params[p.Name] = p.Value
		}
		out = append(out, c)
	}
	return out
}

// tryEntries is how many entries are run with new code to see whether what it makes merges with what is done.
const tryEntries = 100

// tryMended runs some entries that are done already with the new code, in a process that is thrown away, and merges the
// output with a partial of the earlier job. So a merge that must fail is found before anything runs, and not at the
// end.
func (r *Room) tryMended(j *Job, rt exec.Runtime, desc *tasks.Job, base []baseBlob, old *foundParts) error {
	if len(base) == 0 {
		return nil
	}
	j.phase(api.Preparing, "trying whether the outputs of both codes can be merged")
	dir, err := os.MkdirTemp(r.cfg.ScratchDir, "try-")
	if err != nil {
		return fmt.Errorf("could not make a folder for trying the code: %w", err)
	}
	defer os.RemoveAll(dir)
	c := &checking{
		room: r, j: j, rt: rt, desc: desc, input: j.inputPath(), dir: dir, out: &api.Check{}, shift: desc.Data.Space().Last,
	}
	made, err := c.generation(0, r.tried(desc, base))
	var f *exec.Failure
	switch {
	case errors.As(err, &f) && f.Kind == exec.KindOpen:
		// The file has changed or is gone. A generation without a packet still runs SlaveBegin and SlaveTerminate.
		if made, err = c.generation(1, tasks.Range{}); err != nil {
			return r.notMended(old, err)
		}
	case err != nil:
		return r.notMended(old, err)
	}
	smallest := slices.MinFunc(base, func(a, b baseBlob) int { return int(min(max(a.Size-b.Size, -1), 1)) })
	var merged, alone exec.Partial
	err = r.use(j.ctx, j, func(p exec.Program, _ *tasks.Job) (err error) {
		if merged, err = p.Merge(j.ctx, []string{smallest.path, made}, filepath.Join(dir, "merged")); err != nil {
			return err
		}
		alone, err = p.Merge(j.ctx, []string{smallest.path}, filepath.Join(dir, "alone"))
		return err
	})
	if err != nil {
		return r.notMerged(old, err.Error())
	}
	mixed := slices.DeleteFunc(slices.Clone(merged.Mixed), func(name string) bool {
		return slices.Contains(alone.Mixed, name)
	})
	if len(mixed) > 0 {
		return r.notMerged(old,
			"objects of one name would be of several classes, and stand side by side: "+strings.Join(mixed, ", "))
	}
	apart := slices.DeleteFunc(slices.Clone(merged.Apart), func(name string) bool {
		return slices.Contains(alone.Apart, name)
	})
	if len(apart) > 0 {
		return r.notMerged(old, "these cannot be merged: "+strings.Join(apart, ", "))
	}
	return nil
}

// tried returns a range of units that the earlier job has done, in a file that this host sees; it is empty if there is
// no such file.
func (r *Room) tried(desc *tasks.Job, base []baseBlob) tasks.Range {
	for i, f := range desc.Data.Files {
		if _, _, err := plan.KeyOf(f.URL, f.Part); err != nil {
			continue
		}
		for _, b := range base {
			for _, done := range b.Cover.Intersect(tasks.CoverOf(desc.Data.Units(i))) {
				return tasks.R(done.First, min(done.Last, done.First+tryEntries))
			}
		}
	}
	return tasks.Range{}
}

// notMended is the error of new code that fails on entries which the earlier code has processed.
func (r *Room) notMended(old *foundParts, err error) error {
	told := checkFailure(err)
	var e *api.Error
	if errors.As(told, &e) {
		e.Message = fmt.Sprintf("the new code fails at entries that job %s has done: %s", api.Short(store.NameOf(old.desc)),
			e.Message)
		e.Hint = "nothing was run; mend the code, and try it with `dtpnode run --check`"
	}
	return told
}

// notMerged is the error of new code whose output cannot be merged with that of the earlier code.
func (r *Room) notMerged(old *foundParts, why string) error {
	return &api.Error{
		Message: fmt.Sprintf("what the new code makes cannot be merged with what job %s has done: %s",
			api.Short(store.NameOf(old.desc)), why),
		Hint: "nothing was run; run it anew with `dtpnode run`, so that one code makes the whole output",
	}
}
