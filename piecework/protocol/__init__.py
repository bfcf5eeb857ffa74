"""What goes over the wire: ids, states, codes, typed messages. No I/O happens here."""
