package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/node/api"
)

// looked is a runtime after it was looked for.
type looked struct {
	Runtime
	found Found
	err   error // why it was not found
}

// look looks for each runtime.
func (c Config) look(ctx context.Context) (all []looked) {
	for _, r := range c.Runtimes {
		found, err := r.Find(ctx)
		all = append(all, looked{r, found, err})
	}
	return all
}

// needCompiler reports whether this host is to have a compiler: it has, or was told to have, a runtime that needs one,
// or has none at all.
func needCompiler(all []looked) bool {
	some := false
	for _, r := range all {
		if r.Needs != "" && !r.Off && (r.Named || r.err == nil) {
			return true
		}
		some = some || r.err == nil
	}
	return !some
}

// findings tells of each runtime, and builds the child against it. One that is not there is no failure as long as
// another is, unless the user has named it.
func findings(ctx context.Context, runtimes []looked, compiler Finding) (all []Finding) {
	dirs := map[string]string{} // of runtimes that were found, by kind and version
	some := slices.ContainsFunc(runtimes, func(r looked) bool { return r.err == nil && !r.Off })
	for _, r := range runtimes {
		name := r.Kind + " " + r.found.Version
		switch {
		case r.Off:
			all = append(all, Finding{Check: r.Kind, Level: OK, Text: "no such jobs are run here, as the settings say"})
		case r.err != nil && some && !r.Named:
			all = append(all, Finding{r.Kind, Warn, r.err.Error() + "; such jobs are left to other members",
				advice(r.err, r.Mend)})
		case r.err != nil:
			all = append(all, Finding{r.Kind, Fail, r.err.Error(), advice(r.err, r.Mend)}, r.unbuilt())
		case dirs[name] != "":
			all = append(all, Finding{r.Kind, Warn,
				fmt.Sprintf("%s in %s is not used: %s is of the same version", r.found.Version, r.found.Dir, dirs[name]),
				"leave it out of the settings"})
		default:
			dirs[name] = r.found.Dir
			all = append(all, Finding{Check: r.Kind, Level: OK, Text: fmt.Sprintf("%s in %s", r.found.Version, r.found.Dir)},
				r.child(ctx, r.found, compiler.Level))
		}
	}
	return all
}

// unbuilt tells that the child of a runtime is not there, since the runtime is not.
func (r Runtime) unbuilt() Finding {
	needs := r.Kind
	if r.Needs != "" {
		needs += " and " + r.Needs
	}
	return Finding{"child", Fail, "not built: it needs " + needs, "mend these first"}
}

// child builds the child against a runtime that was found, which may take a compiler.
func (r Runtime) child(ctx context.Context, found Found, compiler Level) Finding {
	if compiler == Fail && r.Needs != "" {
		return r.unbuilt()
	}
	if err := r.Build(ctx); err != nil {
		mend := "see what it says: it names what is missing"
		if r.Needs != "" {
			mend = "see the compiler's message; is the " + r.Kind + " complete, with its headers?"
		}
		return Finding{"child", Fail, err.Error(), advice(err, mend)}
	}
	if r.Needs == "" {
		return Finding{Check: "child", Level: OK, Text: fmt.Sprintf("has what it needs for %s %s", r.Kind, found.Version)}
	}
	return Finding{Check: "child", Level: OK, Text: fmt.Sprintf("built against %s %s", r.Kind, found.Version)}
}

// broken are the runtimes that the daemon cannot run jobs with, but for the one that its problem tells of.
func broken(st api.NodeStatus) (all []Finding) {
	for _, r := range st.Runtimes {
		if r.Problem != "" && !strings.Contains(st.Problem, r.Problem) {
			all = append(all, Finding{"daemon", Warn, fmt.Sprintf("it cannot run jobs with %s %s: %s", r.Kind, r.Version,
				r.Problem), ""})
		}
	}
	return all
}

// socket checks the path of the control socket.
func (c Config) socket() Finding {
	path := api.SocketPath(c.State)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return Finding{Check: "socket", Level: OK, Text: path + " (no daemon has made it yet)"}
	case err != nil:
		return Finding{"socket", Fail, err.Error(), "choose another state folder with --state"}
	case info.Mode()&os.ModeSocket == 0:
		return Finding{"socket", Fail, path + " is no socket", "remove it, or choose another state folder with --state"}
	case info.Mode().Perm()&0o077 != 0:
		return Finding{"socket", Fail, fmt.Sprintf("%s is open to others (%v)", path, info.Mode().Perm()),
			"chmod 600 " + path}
	}
	return Finding{Check: "socket", Level: OK, Text: path}
}

// daemon asks the daemon for its version and problems.
func (c Config) daemon(ctx context.Context) (Finding, api.NodeStatus) {
	st, err := c.Status(ctx)
	return c.judge(st, err), st
}

func (c Config) judge(st api.NodeStatus, err error) Finding {
	switch {
	case errors.Is(err, api.ErrNoDaemon):
		return Finding{"daemon", Warn, "none is running",
			"`dtpnode up --detach`; for one job alone, `dtpnode run` starts one itself"}
	case err != nil:
		return Finding{"daemon", Fail, err.Error(), advice(err, "see its log, dtpnode.log in "+c.State)}
	case st.Version != c.Version:
		return Finding{"daemon", Fail, fmt.Sprintf("version %s runs, this is %s", st.Version, c.Version),
			"start it anew: `dtpnode down`, `dtpnode up --detach`"}
	case st.Problem != "":
		return Finding{"daemon", Warn, st.Problem, ""}
	}
	return Finding{
		Check: "daemon",
		Level: OK,
		Text:  fmt.Sprintf("%s, pid %d, %d of %s up", st.Name, st.PID, st.Up, progress.Plural(st.Members, "member")),
	}
}

// links looks for members that are up and have no link to each other.
func (c Config) links(ctx context.Context, st api.NodeStatus) (all []Finding) {
	if c.Links == nil || st.Members < 2 || st.Expelled != nil {
		return nil
	}
	l, err := c.Links(ctx)
	if err != nil || l == nil {
		return nil // what is wrong with the daemon is said already
	}
	groups, rest := progress.Links(l)
	for _, g := range groups {
		all = append(all, Finding{"links", Warn, strings.Join(append([]string{g.Text}, g.Reasons...), "; "), mendLink(g)})
	}
	switch {
	case st.Up < 2: // only this one of several members is up
		all = append(all, Finding{"links", Warn, fmt.Sprintf("none of the %d other members is reached", st.Members-1),
			"`dtpnode members` says why for each: are they up, is this host on the network, and does it listen on an address " +
				"that it has?"})
	case len(groups) == 0:
		all = append(all, Finding{Check: "links", Level: OK, Text: "all members that are up have links to each other"})
	}
	if rest != "" {
		all = append(all, Finding{Check: "links", Level: Warn, Text: strings.ReplaceAll(rest, "\n", "; ")})
	}
	return all
}

// clocks looks for members whose clocks are off.
func (c Config) clocks(ctx context.Context, st api.NodeStatus) (all []Finding) {
	if c.Members == nil || st.Up < 2 || st.Expelled != nil {
		return nil
	}
	members, err := c.Members(ctx)
	if err != nil {
		return nil // what is wrong with the daemon is said already
	}
	for _, text := range progress.Clocks(members) {
		all = append(all, Finding{"clocks", Warn, text, "`timedatectl` shows whether a host's clock is kept right, " +
			"`timedatectl set-ntp true` has it kept so; ages and expiries are shown by it"})
	}
	if len(all) == 0 {
		all = append(all, Finding{
			Check: "clocks",
			Level: OK,
			Text:  fmt.Sprintf("those of the members that are up agree within %s", progress.Duration(progress.ClocksDiffer)),
		})
	}
	return all
}

// mendLink says what may establish a missing link.
func mendLink(g progress.LinkGroup) string {
	if text := strings.Join(g.Reasons, " "); strings.Contains(text, "127.0.0.1:") || strings.Contains(text, "[::1]:") {
		return "a node that listens on 127.0.0.1 is reached from its own host alone; there: `dtpnode down`, `dtpnode up " +
			"--listen HOST:PORT --detach`"
	}
	return "one of the two must be able to connect to the other: look for a firewall between them, and for where they " +
		"listen (up --listen)"
}

// left reports what runs without a daemon have left behind.
func (c Config) left() (all []Finding) {
	if c.Sweep != nil {
		for _, dir := range c.Sweep() {
			all = append(all, Finding{Check: "left over", Level: OK, Text: "removed " + dir + " of a run that was killed"})
		}
	}
	if c.Kept != nil {
		kept := c.Kept()
		for _, id := range slices.Sorted(maps.Keys(kept)) {
			all = append(all,
				Finding{"kept job", Warn, "run could not hand over all of job " + progress.Short(id) + ", which is in " + kept[id],
					"`dtpnode status " + progress.Short(id) + "` says why"})
		}
	}
	return all
}

// advice is the hint that comes with an error, else fallback.
func advice(err error, fallback string) string {
	var e *api.Error
	if errors.As(err, &e) && e.Hint != "" {
		return e.Hint
	}
	return fallback
}
