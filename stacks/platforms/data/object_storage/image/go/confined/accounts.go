package confined

import (
	"fmt"
	"os"

	"github.com/versity/versitygw/auth"
)

// accounts fails at once when the file of the users is missing. The gateway would wait for another gateway to write it,
// half a minute for each request, which occupies every place for requests.
type accounts struct {
	auth.IAMService
	file string
}

// Accounts returns the users of `service`, which keeps them in `file`.
func Accounts(service auth.IAMService, file string) auth.IAMService {
	return &accounts{service, file}
}

func (a *accounts) check() error {
	if _, err := os.Stat(a.file); err != nil {
		return fmt.Errorf("the file of the users: %w", err)
	}
	return nil
}

func (a *accounts) GetUserAccount(access string) (auth.Account, error) {
	if err := a.check(); err != nil {
		return auth.Account{}, err
	}
	return a.IAMService.GetUserAccount(access)
}

func (a *accounts) ResolveAccounts(keys []string) ([]string, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	return a.IAMService.ResolveAccounts(keys)
}

func (a *accounts) ListUserAccounts() ([]auth.Account, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	return a.IAMService.ListUserAccounts()
}
