package jobs

import (
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/api"
)

// A program may ask for the files that it has written to be known as a dataset. They are registered as the job ends,
// before anybody is told of that, so that who waits for the job can use the name at once. What cannot be registered is
// no reason to fail: the files are there, and their notes say what to do.

// register registers the datasets of a job that has ended on the node of its user.
func (r *ender) register(j *Job, fin *exec.Finished) {
	first := map[string]int{} // index of each dataset's first file
	for i, f := range fin.Files {
		if _, known := first[f.Dataset]; f.Register && !known {
			first[f.Dataset] = i
		}
	}
	for name, i := range first {
		err := r.registerOne(j, fin, name)
		for k := range fin.Files {
			if fin.Files[k].Dataset == name {
				fin.Files[k].Registered = err == nil
			}
		}
		if err == nil {
			continue
		}
		note := "not registered: " + err.Error()
		var e *api.Error
		if errors.As(err, &e) && e.Hint != "" {
			note += "; " + e.Hint
		}
		if fin.Files[i].Note != "" {
			note = fin.Files[i].Note + "; " + note
		}
		fin.Files[i].Note = note
	}
}

func (r *ender) registerOne(j *Job, fin *exec.Finished, name string) error {
	j.mu.Lock()
	own, kind := j.own(), j.s.Desc.Work.Kind
	j.mu.Unlock()
	if !own {
		return fmt.Errorf("the job ended on another node than its user's: fetch its files with `dtpnode get %s`, and "+
			"register them with `dtpnode dataset add`", api.Short(j.Name))
	}
	// A group and an owner may go before a name, as PROOF wrote it; only this node's own names can be registered here.
	req := api.DatasetRequest{Name: path.Base(name), Kind: kind}
	for _, f := range fin.Files {
		if f.Dataset != name || f.Size == 0 || f.Path == "" {
			continue
		}
		req.Part, req.Replace = f.Tree, f.Replace
		req.Files = append(req.Files, api.InputFile{URL: f.Path, Part: f.Tree})
	}
	if req.Part == "" {
		return errors.New("there is no tree in its files")
	}
	req.Replace = req.Replace || r.written(req)
	_, err := r.sets.Add(r.ctx, req)
	var e *api.Error
	if errors.As(err, &e) && !req.Replace && e.Status == http.StatusConflict {
		return errors.New(e.Message + ": the option O of TProofOutputFile replaces it, as does " +
			"`dtpnode dataset add --replace`")
	}
	return err
}

// written reports whether all files that this node has under a name are among those that the job has just written: what
// is said of them is not true any more, as after a retry of the job.
func (r *ender) written(req api.DatasetRequest) bool {
	old, err := r.sets.Get(r.ctx, r.net.ID()+"/"+req.Name)
	if err != nil {
		return false
	}
	return !slices.ContainsFunc(old.Files, func(f api.DatasetFile) bool {
		return !slices.ContainsFunc(req.Files, func(now api.InputFile) bool {
			return now.URL == strings.TrimPrefix(f.URL, "file://")
		})
	})
}
