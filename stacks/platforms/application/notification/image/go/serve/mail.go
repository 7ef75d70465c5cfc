package serve

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"mime"
	"net/smtp"
	"net/textproto"
	"strings"
	"time"
)

// A relay takes mail by SMTP with STARTTLS, without which nothing is said to it: neither the account nor a message.
type relay struct {
	line        *line
	sender      string
	credentials string
}

func (r *relay) send(ctx context.Context, item *message) error {
	made, err := r.line.connect(ctx)
	if err != nil {
		return err
	}
	defer made.Close()
	until, _ := ctx.Deadline()
	if err := made.SetDeadline(until); err != nil {
		return err
	}
	client, err := smtp.NewClient(made, r.line.host)
	if err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	_, domain, _ := strings.Cut(r.sender, "@")
	if err := client.Hello(domain); err != nil {
		return fmt.Errorf("EHLO: %w", err)
	}
	if is, _ := client.Extension("STARTTLS"); !is {
		return errors.New("the relay does not offer STARTTLS")
	}
	if err := client.StartTLS(r.line.trusted.Clone()); err != nil {
		return fmt.Errorf("STARTTLS: %w", err)
	}
	if user, password, is := strings.Cut(r.credentials, ":"); is {
		if err := client.Auth(smtp.PlainAuth("", user, password, r.line.host)); err != nil {
			return fmt.Errorf("AUTH: %w", err)
		}
	}
	if err := client.Mail(r.sender); err != nil {
		return fmt.Errorf("the relay refuses the sender: %w", err)
	}
	if err := client.Rcpt(item.To); err != nil {
		return refusedForGood("the relay refuses the receiver", err)
	}
	content, err := client.Data()
	if err != nil {
		return fmt.Errorf("DATA: %w", err)
	}
	if _, err := content.Write(r.compose(item)); err != nil {
		return err
	}
	if err := content.Close(); err != nil {
		return refusedForGood("the relay refuses the message", err)
	}
	// The relay has it, whatever comes of the farewell.
	_ = client.Quit()
	return nil
}

// refusedForGood is permanent if the code says that the same command would be refused again (RFC 5321, section 4.2.1).
func refusedForGood(what string, err error) error {
	var answer *textproto.Error
	failure := fmt.Errorf("%s: %w", what, err)
	if errors.As(err, &answer) && answer.Code >= 500 {
		return permanent{failure}
	}
	return failure
}

// compose writes the mail. A message has the same Message-ID in each attempt, by which a receiver knows it again.
func (r *relay) compose(item *message) []byte {
	_, domain, _ := strings.Cut(r.sender, "@")
	var made bytes.Buffer
	for _, header := range [][2]string{
		{"From", "<" + r.sender + ">"},
		{"To", "<" + item.To + ">"},
		{"Subject", mime.QEncoding.Encode("utf-8", item.Subject)},
		{"Date", item.Accepted.UTC().Format(time.RFC1123Z)},
		{"Message-ID", "<" + item.ID + "@" + domain + ">"},
		// So that nobody's absence note answers (RFC 3834).
		{"Auto-Submitted", "auto-generated"},
		{"MIME-Version", "1.0"},
		{"Content-Type", `text/plain; charset="utf-8"`},
		{"Content-Transfer-Encoding", "base64"},
	} {
		fmt.Fprintf(&made, "%s: %s\r\n", header[0], header[1])
	}
	made.WriteString("\r\n")
	text := base64.StdEncoding.EncodeToString([]byte(item.Text))
	for len(text) > 76 {
		made.WriteString(text[:76] + "\r\n")
		text = text[76:]
	}
	made.WriteString(text + "\r\n")
	return made.Bytes()
}
