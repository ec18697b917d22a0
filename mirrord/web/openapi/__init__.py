"""What every endpoint takes and answers, as types, and the OpenAPI document made of them."""
