package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/node/api"
)

// toolLimit is the time that a tool may take to tell its version.
const toolLimit = 20 * time.Second

func cores() Finding {
	return Finding{Check: "cores", Level: OK, Text: fmt.Sprintf("%d", runtime.NumCPU())}
}

// memory checks that two children and the daemon would fit into memory.
func memory() Finding {
	f := Finding{Check: "memory", Level: OK}
	available, err := availableMemory("/proc/meminfo")
	if err != nil {
		f.Level, f.Text = Warn, err.Error()
		return f
	}
	f.Text = progress.Bytes(float64(available)) + " available"
	if available < 1<<30 {
		f.Level, f.Mend = Warn, "a child takes about 250 MB: use fewer --slots, or end other programs"
	}
	return f
}

func availableMemory(path string) (int64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("could not read the memory's size: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "MemAvailable: %d kB", &kib); err == nil {
			return kib << 10, nil
		}
	}
	return 0, fmt.Errorf("could not find MemAvailable in %s", path)
}

// folder checks that a folder can be made and written, is not open to others, and has room.
func folder(check, dir, flag string, fail, warn uint64) Finding {
	f := Finding{Check: check, Level: Fail}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		f.Text, f.Mend = fmt.Sprintf("could not make %s: %v", dir, err), "choose another with "+flag
		return f
	}
	probe, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		f.Text = fmt.Sprintf("could not write in %s: %v", dir, err)
		f.Mend = fmt.Sprintf("chown and chmod u+rwx %s, or choose another with %s", dir, flag)
		return f
	}
	probe.Close()
	os.Remove(probe.Name())
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		f.Text = fmt.Sprintf("could not ask for the free space of %s: %v", dir, err)
		return f
	}
	free := fs.Bavail * uint64(fs.Bsize)
	f.Level, f.Text = OK, fmt.Sprintf("%s, %s free", dir, progress.Bytes(float64(free)))
	switch {
	case free < fail:
		f.Level, f.Mend = Fail, "free disk space there, or choose another with "+flag
	case free < warn:
		f.Level, f.Mend = Warn, "free disk space there before it runs out"
	case othersMayWrite(dir):
		f.Level, f.Mend = Warn, "others may write there: chmod go-w "+dir
	}
	return f
}

func othersMayWrite(dir string) bool {
	info, err := os.Stat(dir)
	return err == nil && info.Mode().Perm()&0o022 != 0
}

// tool looks for the first of some programs and its version.
func tool(ctx context.Context, check string, names []string, mend string) Finding {
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		out, err := output(ctx, path, "--version")
		if err != nil {
			return Finding{check, Fail, fmt.Sprintf("%s does not run: %v", path, err), mend}
		}
		first, _, _ := strings.Cut(out, "\n")
		return Finding{Check: check, Level: OK, Text: fmt.Sprintf("%s (%s)", path, first)}
	}
	return Finding{check, Fail, "none of " + strings.Join(names, ", ") + " is on the PATH", mend}
}

// python checks for Python with the venv module, which some distributions package separately. Here it is looked at as
// what installs ROOT, so it is no failure if it is missing; jobs in Python have a finding of their own.
func python(ctx context.Context) Finding {
	const mend = "venv is only needed to install ROOT: `apt install python3-venv` or `dnf install python3`"
	f := tool(ctx, "python3", []string{"python3"}, mend).soften()
	if f.Level != OK {
		return f
	}
	if _, err := output(ctx, "python3", "-c", "import venv, ensurepip"); err != nil {
		return Finding{"python3", Warn, f.Text + ", but without the venv module", mend}
	}
	f.Text += ", with venv"
	return f
}

func output(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, toolLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// listen tries to listen on an address, unless the daemon listens there.
func (c Config) listen(addr string, st api.NodeStatus) Finding {
	f := Finding{Check: "listen", Level: OK, Text: addr + " is free"}
	host, port, _ := net.SplitHostPort(addr)
	if host == "auto" {
		f.Text = addr + ": the address that faces the other members"
		addr = net.JoinHostPort("", port)
	}
	for _, a := range st.Addrs {
		if gone(a) && host == "auto" {
			return Finding{f.Check, Warn, "this host does not have the address of " + a + ", where the daemon listens, any more",
				"it listens anew by itself within seconds of the host's having another: is there a network?"}
		}
		if gone(a) {
			return Finding{f.Check, Fail, "this host does not have the address of " + a + ", where the daemon listens, any more",
				"start it anew: `dtpnode down`, `dtpnode up --listen auto:0 --detach`"}
		}
	}
	if st.PID != 0 && port != "0" && slices.ContainsFunc(st.Addrs, func(a string) bool {
		_, p, _ := net.SplitHostPort(a)
		return p == port
	}) {
		f.Text = addr + ", where the daemon listens"
		return f
	}
	l, err := net.Listen("tcp", addr)
	if err == nil {
		l.Close()
		return f
	}
	f.Level, f.Text = Fail, fmt.Sprintf("could not listen on %s: %v", addr, err)
	var addrErr *net.AddrError
	var dns *net.DNSError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		f.Mend = fmt.Sprintf("a program uses this port, which `ss -ltnp 'sport = :%s'` names; end it, or choose another "+
			"with `dtpnode up --listen`", port)
		if st.PID != 0 { // the daemon runs, so the port may be its own
			f.Level = Warn
		}
	case errors.Is(err, syscall.EACCES):
		f.Mend = "ports below 1024 need rights: choose a higher one with --listen"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		f.Mend = fmt.Sprintf("this host does not have that address (see `ip address`): `dtpnode up --listen %s` takes the "+
			"one that it has, and goes along when that changes", net.JoinHostPort("auto", port))
	case errors.As(err, &addrErr), errors.As(err, &dns):
		f.Mend = "--listen wants host:port, such as 192.0.2.7:4001"
	}
	return f
}

// gone reports whether this host lacks an address that a daemon listens on.
func gone(addr string) bool {
	host, _, _ := net.SplitHostPort(addr)
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err == nil {
		l.Close()
	}
	return errors.Is(err, syscall.EADDRNOTAVAIL)
}

// damaged reports the files of the daemon's state that cannot be used.
func (c Config) damaged() (all []Finding) {
	if c.Damaged == nil {
		return nil
	}
	texts, mends := c.Damaged()
	for i, text := range texts {
		all = append(all, Finding{"state", Fail, text, mends[i]})
	}
	return all
}

// settings reports the settings that a daemon would refuse at its start.
func (c Config) settings() (all []Finding) {
	if c.Settings == nil {
		return nil
	}
	wrong, misspelt := c.Settings()
	for _, text := range wrong {
		all = append(all, Finding{"settings", Fail, text, "`dtpnode config show` lists them all; `dtpnode config unset " +
			"NAME` forgets one that is remembered"})
	}
	for _, text := range misspelt {
		all = append(all, Finding{"settings", Warn, text, "correct its name, or unset it"})
	}
	if len(all) == 0 {
		all = append(all, Finding{Check: "settings", Level: OK, Text: "a start takes them: `dtpnode config show`"})
	}
	return all
}
