package inputs

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/rootexec"
	"github.com/dtpnode/dtpnode/tasks"
)

// Params reads name=value pairs. A name given twice is an error.
func Params(pairs []string) (map[string]string, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	params, seen := make(map[string]string, len(pairs)), map[string]bool{}
	for _, p := range pairs {
		key, value, ok := strings.Cut(p, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("could not read --param %q: want name=value", p)
		}
		if err := rootexec.CheckParam(key, value); err != nil {
			return nil, fmt.Errorf("could not use --param %q: %w", p, err)
		}
		name, _ := rootexec.ParamName(key)
		if seen[name] {
			return nil, fmt.Errorf("could not use --param %q: %q is given twice", p, name)
		}
		seen[name] = true
		params[key] = value
	}
	return params, nil
}

// Memory reads the memory in bytes that a child may use: a Size, or 0 for none given. A value in which ROOT could not
// start is an error, since most often its unit was left out.
func Memory(text string) (int64, error) {
	n, err := Size(text)
	if err != nil || n == 0 || n >= tasks.LeastMemory {
		return n, err
	}
	mean := ""
	if number := strings.TrimSpace(text); strings.Trim(number, "0123456789.") == "" {
		mean = fmt.Sprintf("; did you mean %sG?", number)
	}
	return 0, fmt.Errorf("could not use --memory %s: a child that runs ROOT needs at least 256M%s", text, mean)
}

// Room reads the disk space in bytes that a child may use: a Size, or 0 for none given.
func Room(text string) (int64, error) {
	n, err := Size(text)
	if err == nil && n != 0 && n < tasks.LeastSize {
		return 0, fmt.Errorf("could not use the size %q: want at least 1M", text)
	}
	return n, err
}

// AtLeastTime is the text that says how long a time limit must be at least.
func AtLeastTime() string { return fmt.Sprintf("want at least %v", tasks.LeastTime) }

// Time checks a time limit of a child; 0 means none given.
func Time(limit time.Duration) error {
	if limit != 0 && limit < tasks.LeastTime {
		return errors.New(AtLeastTime())
	}
	return nil
}

// Size reads a number of bytes: 1500000, 512M, 2G, 1.5GiB. The units are powers of 1024, whatever
// their spelling. An empty text is 0.
func Size(text string) (int64, error) {
	t := strings.TrimSpace(text)
	if t == "" {
		return 0, nil
	}
	number := strings.TrimRight(t, "bBiIkKmMgGtT ")
	unit := strings.ToLower(strings.TrimSpace(t[len(number):]))
	if unit != "" && unit != "b" {
		unit = strings.TrimSuffix(strings.TrimSuffix(unit, "b"), "i")
	}
	shift, ok := map[string]int{"": 0, "b": 0, "k": 10, "m": 20, "g": 30, "t": 40}[unit]
	value, err := strconv.ParseFloat(number, 64)
	bytes := math.Ldexp(value, shift)
	if !ok || err != nil || !(bytes >= 0 && bytes < 1<<62) {
		return 0, fmt.Errorf("could not read the size %q: want a number of bytes such as 512M or 2G", text)
	}
	return int64(bytes), nil
}
