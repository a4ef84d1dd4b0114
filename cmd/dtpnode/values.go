package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/dtpnode/dtpnode/cli/inputs"
	"github.com/dtpnode/dtpnode/cli/logging"
	"github.com/dtpnode/dtpnode/cli/settings"
	"github.com/dtpnode/dtpnode/node"
)

// check checks the value of one setting, which has the right type, and returns an error that says what it should be.
func (f *nodeFlags) check(name string) error {
	switch name {
	case "listen":
		return checkListen(f.listen)
	case "root", "python":
		return checkAlone(map[string][]string{"root": f.root, "python": f.python}[name])
	case "name":
		if f.name != "" {
			return reason(node.CheckName(f.name))
		}
	case "slots":
		if f.slots < 1 {
			return errors.New("want at least 1")
		}
	case "max-processes":
		if f.limits.processes < 0 {
			return errors.New("want at least 1")
		}
	case "memory":
		_, err := inputs.Memory(f.memory)
		return reason(err)
	case "env-bytes":
		_, err := inputs.Size(f.envBytes)
		return reason(err)
	case "keep-bytes":
		_, err := inputs.Size(f.keep)
		return reason(err)
	case "max-file-size", "max-scratch":
		_, err := inputs.Room(map[string]string{"max-file-size": f.limits.fileSize, "max-scratch": f.limits.scratch}[name])
		return reason(err)
	case "keep-results", "commit-every", "forget-after", "forget-ephemeral":
		if map[string]time.Duration{
			"keep-results":     f.keepFor,
			"commit-every":     f.commit,
			"forget-after":     f.forget,
			"forget-ephemeral": f.forgetE,
		}[name] <= 0 {
			return errors.New("want a time above zero")
		}
	case "open-timeout", "max-cpu":
		return inputs.Time(map[string]time.Duration{"open-timeout": f.limits.open, "max-cpu": f.limits.cpu}[name])
	case "log-level":
		if err := new(slog.Level).UnmarshalText([]byte(f.logLevel)); err != nil {
			return errors.New("want debug, info, warn or error")
		}
	case "log-format":
		if !slices.Contains(logging.Formats(), f.logFormat) {
			return fmt.Errorf("want one of %s", strings.Join(logging.Formats(), ", "))
		}
	}
	return nil
}

// reason removes from an error the words that name the value.
func reason(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if _, why, ok := strings.Cut(text, `": `); ok { // what follows the quoted value
		return errors.New(why)
	}
	if _, why, ok := strings.Cut(text, ": "); ok {
		return errors.New(why)
	}
	return err
}

// checkAlone checks that the value for no runtimes stands alone.
func checkAlone(values []string) error {
	if len(values) > 1 && slices.Contains(values, noneOfIt) {
		return fmt.Errorf("%s stands for no such jobs, and so alone", noneOfIt)
	}
	return nil
}

// checkListen checks that each address is host:port with a number.
func checkListen(addrs []string) error {
	if len(addrs) == 0 {
		return errors.New("want at least one HOST:PORT, such as 127.0.0.1:0 for this host alone")
	}
	for _, a := range addrs {
		host, port, err := net.SplitHostPort(a)
		if err != nil {
			mean := ""
			if ip := net.ParseIP(strings.Trim(a, "[]")); ip != nil {
				mean = ", such as " + net.JoinHostPort(ip.String(), "4001")
			}
			return fmt.Errorf("want HOST:PORT%s; port 0 takes one that is free", cmp.Or(mean, ", such as 192.0.2.7:4001"))
		}
		if _, err := strconv.ParseUint(cmp.Or(port, "0"), 10, 16); err != nil {
			return fmt.Errorf("want HOST:PORT with a port of 0 to 65535, not %q", port)
		}
		if strings.ContainsAny(host, " \t\n/") {
			return fmt.Errorf("want HOST:PORT, and %q is no host", host)
		}
	}
	return nil
}

// wrong returns the settings whose values a daemon would refuse, with their sources; flags are the source of those
// given as flags.
func (f *nodeFlags) wrong(own *pflag.FlagSet, from map[string]string) (all []*settings.Invalid) {
	own.VisitAll(func(fl *pflag.Flag) {
		err := f.check(fl.Name)
		if why := zero(fl); why != "" && (fl.Changed || from[fl.Name] != "") {
			err = errors.New(why)
		}
		if err != nil {
			all = append(all, &settings.Invalid{
				Setting: fl.Name,
				Values:  settings.Values(fl),
				Source:  from[fl.Name],
				Why:     err.Error(),
			})
		}
	})
	return all
}

// checked returns wrong as one error, for commands that are about to start a daemon.
func (f *nodeFlags) checked(flags *pflag.FlagSet, from map[string]string) error {
	all := f.wrong(f.own(flags), from)
	if len(all) == 0 {
		return nil
	}
	if w := all[0]; w.Source == "" {
		return usagef("could not use --%s %s: %s", w.Setting, settings.Shown(w.Values), w.Why)
	}
	return usageError{all[0]}
}
