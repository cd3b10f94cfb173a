package wire

// systemFlags are the flags whose case is known (RFC 9051 section 2.3.2).
// Every other flag keeps the case in which the client wrote it.
var systemFlags = [...]string{`\Seen`, `\Answered`, `\Flagged`, `\Deleted`, `\Draft`, `\Recent`}

// Flag reads a flag: an atom, or "\" and an atom. System flags are returned
// as RFC 9051 writes them, keywords as they were given. It does not judge
// whether a client may set the flag.
func (d *Decoder) Flag() (string, error) {
	system, err := d.Accept('\\')
	if err != nil {
		return "", err
	}
	tok, err := d.some(atomChar, "a flag")
	if err != nil {
		return "", err
	}
	if !system {
		return string(tok), nil
	}
	for _, f := range systemFlags {
		if equalFold(tok, f[1:]) {
			return f, nil
		}
	}
	return `\` + string(tok), nil
}

// FlagList reads flags in parentheses, which may be none.
func (d *Decoder) FlagList() ([]string, error) {
	var flags []string
	err := d.List(func() error {
		f, err := d.Flag()
		flags = append(flags, f)
		return err
	})
	if err != nil {
		return nil, err
	}
	return flags, nil
}

// StoreFlags reads what STORE takes: a FlagList, or at least one flag without
// parentheses, up to the end of the line (RFC 9051 section 9, store-att-flags).
func (d *Decoder) StoreFlags() ([]string, error) {
	if c, err := d.Peek(); err != nil {
		return nil, err
	} else if c == '(' {
		return d.FlagList()
	}
	var flags []string
	for {
		f, err := d.Flag()
		if err != nil {
			return nil, err
		}
		flags = append(flags, f)
		if more, err := d.Accept(' '); err != nil {
			return nil, err
		} else if !more {
			return flags, nil
		}
	}
}
