"""How bodies may look on the wire: JSON or msgpack, plain or compressed. Handlers see plain JSON."""
