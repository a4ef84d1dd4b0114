package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	osexec "os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dtpnode/dtpnode/cli/local"
	"github.com/dtpnode/dtpnode/cli/logging"
	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/cli/settings"
	"github.com/dtpnode/dtpnode/node/api"
)

// This file implements completion. A command's usage line says what its argument is, JOB or MEMBER, and the daemon
// knows which there are. If no daemon runs, or it does not answer soon, nothing is offered and no error is printed, so
// that the line being typed stays intact.

// completeWithin bounds how long completion may take.
const completeWithin = time.Second

// completeMost bounds how many words are offered; typing more letters selects fewer.
const completeMost = 200

// addCompletions adds completion to all commands and flags.
func addCompletions(g *globals, root *cobra.Command) {
	for _, cmd := range root.Commands() {
		addCompletions(g, cmd)
	}
	if !root.HasSubCommands() && root.ValidArgsFunction == nil {
		root.ValidArgsFunction = argsOf(g, root)
	}
	offer := flagValues()
	root.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if _, given := root.GetFlagCompletionFunc(f.Name); given {
			return
		}
		f2, known := offer[f.Name]
		switch {
		case known:
			_ = root.RegisterFlagCompletionFunc(f.Name, f2)
		case !namesFile(f):
			_ = root.RegisterFlagCompletionFunc(f.Name, cobra.NoFileCompletions)
		}
	})
}

// argsOf is the completion of a command's arguments, determined by its usage line.
func argsOf(g *globals, cmd *cobra.Command) cobra.CompletionFunc {
	switch {
	case strings.Contains(cmd.Use, "JOB"):
		return g.completeJobs(jobsFor(cmd.Name()))
	case strings.Contains(cmd.Use, "MEMBER"):
		return g.completeMembers(membersFor(cmd.Name()))
	case cmd.Name() == "run":
		return sourceFiles
	case cmd.Name() == "man":
		return cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs)
	case cmd.Name() == "help":
		return completeCommands
	case cmd.HasParent() && cmd.Parent().Name() == "config":
		return completeSetting
	}
	return cobra.NoFileCompletions
}

// jobsFor returns a filter for the jobs that a command applies to.
func jobsFor(command string) func(api.JobStatus) bool {
	switch command {
	case "cancel", "attach":
		return func(j api.JobStatus) bool { return !j.State.Final() }
	case "finish":
		return func(j api.JobStatus) bool { return j.State == api.CannotFinish }
	case "retry":
		return func(j api.JobStatus) bool { return j.State == api.Partial }
	case "recover":
		return func(j api.JobStatus) bool { return j.State == api.Waiting }
	case "get": // for the others, --partials writes what is done
		return func(j api.JobStatus) bool { return j.State != api.Cancelled && j.State != api.Failed }
	}
	return func(api.JobStatus) bool { return true }
}

// membersFor returns a filter for the members that a command applies to.
func membersFor(command string) func(api.Member) bool {
	return func(m api.Member) bool {
		switch {
		case m.Self, m.Founder:
			return false
		case command == "forget":
			return !m.Up
		case command == "handover":
			return m.Up
		}
		return true
	}
}

// completeJobs offers the names of jobs, the newest first, with their states.
func (g *globals) completeJobs(fits func(api.JobStatus) bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		const directive = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
		paths, err := g.paths()
		if err != nil || len(args) > 0 {
			return nil, directive
		}
		ctx, cancel := context.WithTimeout(orBackground(cmd.Context()), completeWithin)
		defer cancel()
		jobs, _ := paths.Client().JobsAtOnce(ctx) // without a daemon only the kept jobs are offered
		slices.SortStableFunc(jobs, func(a, b api.JobStatus) int { return b.Submitted.Compare(a.Submitted) })
		var out []cobra.Completion
		for _, j := range jobs {
			if name := progress.Short(j.ID); fits(j) && strings.HasPrefix(j.ID, begun) && len(out) < completeMost {
				out = append(out, cobra.CompletionWithDesc(max(name, begun), describeJob(j, time.Now())))
			}
		}
		kept := local.AllKept(paths)
		for _, id := range slices.Sorted(maps.Keys(kept)) {
			known := slices.ContainsFunc(jobs, func(j api.JobStatus) bool { return strings.HasPrefix(j.ID, id) })
			if !known && strings.HasPrefix(id, begun) && cmd.Name() != "recover" {
				out = append(out,
					cobra.CompletionWithDesc(max(progress.Short(id), begun),
						"kept by run without a daemon: "+string(local.ReadKept(kept[id]).State)))
			}
		}
		return out, directive
	}
}

// describeJob describes a job in half a line.
func describeJob(j api.JobStatus, now time.Time) string {
	words := []string{string(j.State)}
	if j.Private == "" {
		if !j.State.Final() {
			words[0] += " " + progress.Share(j)
		}
		words = append(words, j.Title)
	}
	return oneLine(strings.Join(append(words, "of "+submitter(j), progress.Age(now.Sub(j.Submitted))+" ago"), ", "))
}

// completeMembers offers the names of members, or their ids where several have the same name, with their states.
func (g *globals) completeMembers(fits func(api.Member) bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		client, err := g.client()
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(orBackground(cmd.Context()), completeWithin)
		defer cancel()
		members, _ := client.Members(ctx)
		short, count := shortIDs(members), map[string]int{}
		for _, m := range members {
			count[m.Name]++
		}
		var out []cobra.Completion
		for _, m := range members {
			name, state := m.Name, memberState(m, time.Now())
			if count[name] > 1 || name == "" || oneLine(name) != name {
				name, state = short[m.ID], strings.TrimSpace(oneLine(m.Name)+" "+state)
			}
			if fits(m) && strings.HasPrefix(name, begun) && len(out) < completeMost {
				out = append(out,
					cobra.CompletionWithDesc(name, fmt.Sprintf("%s, %s, %s", state, progress.Plural(m.Slots, "slot"), rightsOf(m))))
			}
		}
		slices.Sort(out)
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

// oneLine removes from a text what would split a line of suggestions.
func oneLine(s string) string { return strings.Join(strings.Fields(progress.Clean(s)), " ") }

func orBackground(ctx context.Context) context.Context {
	if ctx == nil {
		return context.Background()
	}
	return ctx
}

// sourceFiles completes files that may be a selector.
var sourceFiles = cobra.FixedCompletions([]cobra.Completion{"C", "cxx", "cc", "cpp", "py"},
	cobra.ShellCompDirectiveFilterFileExt)

// flagValues returns completions for flags with a known set of values.
func flagValues() map[string]cobra.CompletionFunc {
	dir := cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs)
	sizes := fixed("256M", "1G", "2G", "4G", "8G")
	return map[string]cobra.CompletionFunc{
		"output":     fixed("text\tfor people", "json\tsee docs/json.md"),
		"log-level":  fixed("debug", "info", "warn", "error"),
		"log-format": fixed(logging.Formats()...),
		"rights":     listOf(api.Rights()),
		"only":       listOf(hyphened(api.States())),
		"state":      dir, "cache": dir, "root": dir, "scratch": dir, "python": interpreterFiles, "dir": dir, "data": dir,
		"listen": func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return listenable(), cobra.ShellCompDirectiveNoFileComp
		},
		"slots":  fixed(strconv.Itoa(runtime.NumCPU()) + "\tthe cores of this host"),
		"memory": sizes, "max-file-size": sizes, "max-scratch": sizes, "keep-bytes": sizes, "env-bytes": sizes,
		"selector": sourceFiles,
		"ttl":      fixed("10m", "1h", "24h"),
	}
}

// interpreterFiles completes a Python: those on the path, or a file.
func interpreterFiles(_ *cobra.Command, _ []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if strings.Contains(begun, "/") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	known := []cobra.Completion{noneOfIt + "\tno jobs in Python"}
	for minor := 20; minor >= 10; minor-- {
		name := fmt.Sprintf("python3.%d", minor)
		if path, err := osexec.LookPath(name); err == nil {
			known = append(known, name+"\t"+path)
		}
	}
	return known, cobra.ShellCompDirectiveDefault
}

func fixed(values ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveKeepOrder)
}

// listOf completes a flag that takes several values separated by commas, each at most once.
func listOf(values []string) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		before, last := "", begun
		if i := strings.LastIndexByte(begun, ','); i >= 0 {
			before, last = begun[:i+1], begun[i+1:]
		}
		var out []cobra.Completion
		for _, v := range values {
			if strings.HasPrefix(v, last) && !slices.Contains(strings.Split(before, ","), v) {
				out = append(out, before+v)
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveKeepOrder
	}
}

// hyphened writes each state as one word.
func hyphened(states []api.JobState) (out []string) {
	for _, s := range states {
		out = append(out, strings.ReplaceAll(string(s), " ", "-"))
	}
	return out
}

// listenable returns the addresses of this host that others may reach.
func listenable() (out []cobra.Completion) {
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if ip, ok := a.(*net.IPNet); ok && !ip.IP.IsLoopback() && !ip.IP.IsLinkLocalUnicast() {
			out = append(out, cobra.CompletionWithDesc(net.JoinHostPort(ip.IP.String(), "4001"), "an address of this host"))
		}
	}
	return append(out, cobra.CompletionWithDesc("127.0.0.1:0", "this host alone"))
}

// namesFile reports whether a flag without values of its own takes the name of a file.
func namesFile(f *pflag.Flag) bool {
	return slices.Contains([]string{"files", "include", "out", "file", "json"}, f.Name)
}

// completeCommands offers the commands to help.
func completeCommands(
	cmd *cobra.Command, args []string, begun string,
) (out []cobra.Completion, _ cobra.ShellCompDirective) {
	at := cmd.Root()
	for _, a := range args {
		next, _, err := at.Find([]string{a})
		if err != nil || next == at {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		at = next
	}
	for _, c := range at.Commands() {
		if c.IsAvailableCommand() && strings.HasPrefix(c.Name(), begun) {
			out = append(out, cobra.CompletionWithDesc(c.Name(), c.Short))
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// completeSetting offers the names of settings to `config set` and `config unset`, and then their values.
func completeSetting(
	cmd *cobra.Command, args []string, begun string,
) (out []cobra.Completion, _ cobra.ShellCompDirective) {
	if cmd.Name() == "show" || cmd.Name() == "unset" && len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	_, flags := daemonSettings()
	if len(args) == 0 {
		flags.VisitAll(func(f *pflag.Flag) {
			if strings.HasPrefix(f.Name, begun) {
				out = append(out,
					cobra.CompletionWithDesc(f.Name, cmp.Or(strings.Join(settings.Values(f), " "), "not set")+": "+f.Usage))
			}
		})
		return out, cobra.ShellCompDirectiveNoFileComp
	}
	f := flags.Lookup(args[0])
	if f == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	if values := flagValues()[f.Name]; values != nil {
		return values(cmd, args, begun)
	}
	if f.Value.Type() == "bool" {
		return []cobra.Completion{"true", "false"}, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}
