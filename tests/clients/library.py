"""This module uses the clients that are libraries: boto3 and minio-py."""

from datetime import timedelta

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from minio import Minio
from minio.commonconfig import CopySource
from urllib3 import PoolManager

from node import ACCESS_KEY, REGION, SECRET_KEY

PART_BYTES = 5 << 20


class Boto3:
    name = "boto3"
    cannot = {}

    def __init__(self, endpoint, _venv, _directory, bucket, authority=None):
        config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, signature_version="s3v4")
        self.s3 = boto3.client("s3", endpoint_url=endpoint, region_name=REGION, aws_access_key_id=ACCESS_KEY,
                               aws_secret_access_key=SECRET_KEY, config=config,
                               verify=str(authority) if authority else None)
        self.bucket = bucket

    def make_bucket(self):
        self.s3.create_bucket(Bucket=self.bucket)

    def put(self, path, key):
        with open(path, "rb") as body:
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)

    def get(self, key, path):
        self.s3.download_file(self.bucket, key, str(path))

    def list(self, prefix):
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return {entry["Key"]: entry["Size"] for page in pages for entry in page.get("Contents", [])}

    def copy(self, source, target):
        self.s3.copy_object(Bucket=self.bucket, Key=target, CopySource={"Bucket": self.bucket, "Key": source})

    def range(self, key, first, last, path):
        answer = self.s3.get_object(Bucket=self.bucket, Key=key, Range=f"bytes={first}-{last}")
        path.write_bytes(answer["Body"].read())

    def multipart(self, path, key):
        parts = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES)
        self.s3.upload_file(str(path), self.bucket, key, Config=parts)

    def presign(self, key):
        return self.s3.generate_presigned_url("get_object", Params={"Bucket": self.bucket, "Key": key}, ExpiresIn=300)

    def delete(self, key):
        self.s3.delete_object(Bucket=self.bucket, Key=key)

    def etag(self, key):
        return self.s3.head_object(Bucket=self.bucket, Key=key)["ETag"].strip('"')


class MinioPy:
    name = "minio-py"
    cannot = {}

    def __init__(self, endpoint, _venv, _directory, bucket, authority=None):
        scheme, host = endpoint.split("://")
        trust = PoolManager(ca_certs=str(authority)) if authority else None
        self.client = Minio(host, access_key=ACCESS_KEY, secret_key=SECRET_KEY, secure=scheme == "https",
                            region=REGION, http_client=trust)
        self.bucket = bucket

    def make_bucket(self):
        self.client.make_bucket(self.bucket)

    def put(self, path, key):
        with open(path, "rb") as body:
            # The part size decides whether parts are used: with 128 MiB none of the files needs them.
            self.client.put_object(self.bucket, key, body, path.stat().st_size, part_size=128 << 20)

    def get(self, key, path):
        self.client.fget_object(self.bucket, key, str(path))

    def list(self, prefix):
        found = self.client.list_objects(self.bucket, prefix=prefix, recursive=True)
        return {entry.object_name: entry.size for entry in found}

    def copy(self, source, target):
        self.client.copy_object(self.bucket, target, CopySource(self.bucket, source))

    def range(self, key, first, last, path):
        answer = self.client.get_object(self.bucket, key, offset=first, length=last - first + 1)
        try:
            path.write_bytes(answer.read())
        finally:
            answer.close()
            answer.release_conn()

    def multipart(self, path, key):
        self.client.fput_object(self.bucket, key, str(path), part_size=PART_BYTES)

    def presign(self, key):
        return self.client.presigned_get_object(self.bucket, key, expires=timedelta(minutes=5))

    def delete(self, key):
        self.client.remove_object(self.bucket, key)
