package jobs

import (
	"errors"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/store"
)

// unreadable finds a job whose status cannot be read among those that are kept here; nil if that is not why it is not
// known.
func (r *Room) unreadable(name string) error {
	dirs, _ := filepath.Glob(r.results.FolderOf(name + "*"))
	if name == "" || strings.ContainsAny(name, `*?[\/`) || len(dirs) != 1 {
		return nil
	}
	if _, err := r.results.Status(filepath.Base(dirs[0])); err != nil {
		return ToldDamage(err)
	}
	return nil
}

// ToldDamage is an error of the store as it is told to users: what is damaged with what to do about it.
func ToldDamage(err error) error {
	var damage *store.Damage
	if !errors.As(err, &damage) {
		return err
	}
	return &api.Error{Status: http.StatusInternalServerError, Message: damage.Text, Hint: damage.Mend, Err: err}
}
