package jobs

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/node/plan"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// A list of jobs believes this node of what it knows, then the proven home, then who says that it has a part in the
// job.
func TestWhoIsBelievedOfAJob(t *testing.T) {
	const self, home, third, submitter = "self", "home", "third", "submitter"
	job := func(by tasks.PeerID, state api.JobState, done int64, at tasks.PeerID) claim {
		return claim{by, api.JobStatus{ID: "0123456789abcdef", State: state, Done: done, Home: at, Submitter: submitter}}
	}
	for _, c := range []struct {
		name  string
		told  []claim
		known tasks.PeerID // the proven home
		want  tasks.PeerID // who is believed
	}{
		{"own", []claim{job(self, api.Running, 1, self), job(third, api.Cancelled, 99, third)}, self, self},
		{"own end", []claim{job(self, api.Done, 1, self), job(home, api.Running, 99, home)}, home, self},
		{"own sight, and the home", []claim{job(self, api.Waiting, 1, home), job(home, api.Running, 1, home)}, home, home},
		{"own sight, and a third", []claim{job(self, api.Waiting, 1, home), job(third, api.Cancelled, 1, third)}, home, self},
		{"home", []claim{job(third, api.Cancelled, 99, third), job(home, api.Running, 1, home)}, home, home},
		{"of a stranger's job, its home", []claim{job(third, api.Cancelled, 99, home), job(home, api.Running, 1, home)}, "",
			home},
		{"of a stranger's job, its submitter",
			[]claim{job(third, api.Cancelled, 99, home), job(submitter, api.Done, 1, home)}, "", submitter},
		{"thirds after an end", []claim{job(third, api.Waiting, 9, home), job("other", api.Done, 1, home)}, "", "other"},
		{"two homes", []claim{job(home, api.Running, 1, home), job(third, api.Running, 2, third)}, "", third},
	} {
		homes := map[string]tasks.PeerID{}
		if c.known != "" {
			homes["0123456789ab"] = c.known
		}
		for range 2 { // in either order
			for i := range c.told {
				c.told[i].Phase = c.told[i].by
			}
			cut := c.told[0]
			cut.ID = cut.ID[:12]
			got := once(self, append([]claim{cut}, c.told[1:]...), homes)
			if len(got) != 1 || got[0].Phase != c.want {
				t.Errorf("%s: %+v", c.name, got)
			}
			c.told[0], c.told[1] = c.told[1], c.told[0]
		}
	}
}

// The submitter of a job is believed before who says that it leads it: the job's name is proof.
func TestNameProvesItsSubmitter(t *testing.T) {
	name := hex.EncodeToString(tasks.NonceOf("submitter", tasks.NonceSalt{1, 2, 3}))
	for _, all := range [][]claim{
		{
			{"x", api.JobStatus{ID: name, State: api.Cancelled, Home: "x"}},
			{"submitter", api.JobStatus{ID: name, State: api.Running, Home: "home"}},
		},
		{
			{"submitter", api.JobStatus{ID: name, State: api.Running, Home: "home"}},
			{"x", api.JobStatus{ID: name, State: api.Cancelled, Submitter: "x"}},
		},
	} {
		if got := once("self", all, nil); len(got) != 1 || got[0].State != api.Running {
			t.Errorf("%+v", got)
		}
	}
}

// Thousands of jobs that members tell of are put together in one pass.
func TestManyJobsAreToldOnce(t *testing.T) {
	var all []api.JobStatus
	for i := range members.MostListed {
		all = append(all, api.JobStatus{ID: fmt.Sprintf("%032d", i)[20:] + "00000000"})
	}
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	list, err := toldBy("x", b)
	if err != nil {
		t.Fatal(err)
	}
	if got := once("self", append(list, list...), nil); len(got) != members.MostListed {
		t.Errorf("%d jobs", len(got))
	}
}

// What a member answers takes no more memory than an honest answer of the largest size.
func TestAnswersAreBounded(t *testing.T) {
	bomb := func(element string) []byte {
		return []byte("[" + strings.TrimSuffix(strings.Repeat(element+",", (p2p.MaxRequest-2)/(len(element)+1)), ",") + "]")
	}
	for _, element := range []string{"{}", "[]", `{"nodes":[{}]}`, "null", "0"} {
		b := bomb(element)
		if len(b) > p2p.MaxRequest {
			t.Fatal("too long")
		}
		for name, read := range map[string]func() error{
			"jobs":     func() error { _, err := toldBy("x", b[:min(len(b), MaxJobsAnswer)]); return err },
			"all jobs": func() error { _, err := toldBy("x", b); return err },
			"plan":     func() error { _, err := wire.ReadJSONList[plan.Answer](b, 16, len(b)); return err },
			"nodes": func() error {
				var st api.JobStatus
				return wire.ReadJSON([]byte(`{"nodes":`+string(b)+`}`), members.MostMissing, &st)
			},
			"waiting": func() error { _, err := readWaiting([]byte(`{"nodes":` + string(b) + `}`)); return err },
		} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := read()
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; err == nil || used > 128<<20 {
				t.Errorf("%s of %s: %v, and took %d bytes", name, element, err, used)
			}
		}
	}
}
