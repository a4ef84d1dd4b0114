package store

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/p2p"
)

// Damage is the error of a file of a daemon's state that cannot be used.
type Damage struct {
	Text string // names the file, and says what is wrong with it
	Mend string // what to do about it
	Err  error  // the error of reading the file; may be nil
}

func (d *Damage) Error() string { return d.Text }
func (d *Damage) Unwrap() error { return d.Err }

// Damages looks at the files in a state folder without which a daemon does not start, or does not know of jobs that it
// keeps. It changes nothing; a daemon may run.
func Damages(state string) (all []*Damage) {
	if _, err := lastBoot(state); err != nil {
		all = append(all, bootDamage(state, err))
	}
	for _, err := range p2p.Damaged(filepath.Join(state, "p2p")) {
		why, mend, _ := strings.Cut(err.Error(), "; ")
		all = append(all, &Damage{Text: why, Mend: mend, Err: err})
	}
	dirs, _ := os.ReadDir(api.JobsDir(state))
	for _, e := range dirs {
		dir := filepath.Join(api.JobsDir(state), e.Name())
		if _, err := readStatus(dir); err != nil {
			all = append(all, statusDamage(dir, err))
		}
	}
	return all
}

// bootDamage is the error of a count of lives that cannot be read.
func bootDamage(state string, err error) *Damage {
	path := filepath.Join(state, bootFile)
	return &Damage{
		Text: fmt.Sprintf("could not read how often the daemon was started, from %q: %v", path, err),
		Mend: fmt.Sprintf("if this host's clock is right, which says %s, remove that file: the daemon counts on from the "+
			"clock, "+
			"and nothing else is lost", time.Now().Format(time.DateTime)),
		Err: err,
	}
}

// statusDamage is the error of a job whose status cannot be read.
func statusDamage(dir string, err error) *Damage {
	d := &Damage{
		Text: fmt.Sprintf("could not read what is kept of job %s, from %q: it is damaged: %v",
			api.Short(filepath.Base(dir)), filepath.Join(dir, statusFile), err),
		Mend: "restore that file and start the daemon again; of its output nothing is kept here: `rm -r " + dir +
			"` drops the rest",
		Err: err,
	}
	if output := filepath.Join(dir, api.ResultFile); SizeOf(output) >= 0 {
		d.Mend = "its output is there still: copy " + output + ", which may lack entries, for the status alone said so; " +
			"or restore that file and start the daemon again"
	}
	return d
}
