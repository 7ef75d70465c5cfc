package serve

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/mail"
	"regexp"
	"strings"
	"time"
)

// What becomes of a message.
const (
	queued, sent, failed = "queued", "sent", "failed"
	// What has come of a try, beside the latter two.
	retried = "retried"
)

// A request asks for a message: the name of a template, to whom, the values, and the app's own key, by which the same
// request again makes no second message.
type request struct {
	Template string            `json:"template"`
	To       string            `json:"to"`
	Values   map[string]string `json:"values"`
	Key      string            `json:"key"`
}

// A message is one that was accepted. Account, Tenant and App are its sender's.
type message struct {
	Number                int64
	ID                    string
	Account, Tenant, App  string
	Channel, To           string
	Subject, Text, Digest string
	Key                   string
	Tries                 int
	Accepted              time.Time
}

// seen is what an app sees of a message of its own. Kept is what a channel with a sink has kept.
type seen struct {
	ID       string     `json:"id"`
	Key      string     `json:"key"`
	Channel  string     `json:"channel"`
	State    string     `json:"state"`
	Tries    int        `json:"tries"`
	Reason   string     `json:"reason,omitempty"`
	Accepted time.Time  `json:"accepted"`
	Next     *time.Time `json:"next,omitempty"`
	Ended    *time.Time `json:"ended,omitempty"`
	Kept     *kept      `json:"kept,omitempty"`
}

type kept struct {
	To      string `json:"to"`
	Subject string `json:"subject,omitempty"`
	Text    string `json:"text"`
}

var (
	keyForm  = regexp.MustCompile(`^[!-~]{1,200}$`)
	phone    = regexp.MustCompile(`^\+?[0-9]{3,20}$`)
	address  = regexp.MustCompile(`^[A-Za-z0-9._%+=-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$`)
	receiver = regexp.MustCompile(`^[A-Za-z0-9._:/+@-]{1,200}$`)
)

func parseRequest(text []byte) (*request, *fault) {
	found := &request{}
	if bad := decode(text, found); bad != nil {
		return nil, bad
	}
	if !keyForm.MatchString(found.Key) {
		return nil, &fault{"key", "it is a text of 1 to 200 printable ASCII characters, of your own for each message"}
	}
	return found, nil
}

// digest tells whether a key comes with the same request again.
func (r *request) digest() string {
	text, _ := json.Marshal([]any{r.Template, r.To, r.Values})
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// checkReceiver looks at to whom a message goes. One message has one receiver.
func checkReceiver(channel, to string) *fault {
	switch channel {
	case mailChannel:
		parsed, err := mail.ParseAddress(to)
		if err != nil || parsed.Address != to || len(to) > 254 || !address.MatchString(to) || strings.Contains(to, "..") {
			return &fault{"to", "it is one mail address, such as ann@example.org"}
		}
	case sms:
		if !phone.MatchString(to) {
			return &fault{"to", "it is one telephone number of 3 to 20 digits, with + before a country's code"}
		}
	default:
		if !receiver.MatchString(to) {
			return &fault{"to", "it is a name of 1 to 200 letters, digits and . _ : / + @ -"}
		}
	}
	return nil
}
