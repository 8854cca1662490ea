#!/usr/bin/env python3
"""Evaluates flags with OpenFeature's SDK and its OFREP provider, and prints what each evaluation returned
as one line of JSON. Needs `pip install openfeature-sdk openfeature-provider-ofrep`.

    evaluate.py --server http://127.0.0.1:7400 \\
        --context '{"targetingKey":"customer-17","environment":"staging"}' NEW_PATH
"""

import argparse
import json

from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", default="http://127.0.0.1:7400")
    parser.add_argument("--context", type=json.loads, default={})
    parser.add_argument("--text", action="store_true", help="flags are booleans; this asks for another type")
    parser.add_argument("keys", nargs="+", metavar="KEY")
    args = parser.parse_args()

    api.set_provider_and_wait(OFREPProvider(args.server))
    client = api.get_client()
    attributes = dict(args.context)
    context = EvaluationContext(attributes.pop("targetingKey", None), attributes)
    for key in args.keys:
        # The default is the old path: it is what the caller gets if the server cannot be reached.
        if args.text:
            details = client.get_string_details(key, "default", context)
        else:
            details = client.get_boolean_details(key, False, context)
        answer = {
            "key": key,
            "value": details.value,
            "reason": details.reason,
            "variant": details.variant,
            "mode": details.flag_metadata.get("mode"),
            "error": details.error_code,
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
